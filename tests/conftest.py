"""Four fake CPU devices, strict ranks and shapes, warnings as errors, small fixtures.

Programs are compiled quickly, with few optimizations, unless the environment variable
DEC_JAX_FULL_TESTS is set to 1 (tests/README.md).
"""

import os
from pathlib import Path

import hypothesis
import jaxtyping
import numpy as np
import pytest
from beartype import BeartypeConf, beartype

from dec_jax.runs.compile_cache import keep_programs, user_cache

ROOT = Path(__file__).parents[1]
FULL = os.environ.get("DEC_JAX_FULL_TESTS", "") not in ("", "0")
# Checked after each file of tests. Linux gives a process at most 65,530.
MANY_MAPS = 20_000

# The environment, not jax's settings, so that programs that a test starts share it. Compiled
# programs lie in the user's cache: all workers and checkouts of a machine share them.
if not FULL:
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    # Each worker has a core: threads of its own would wait for those of the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
with pytest.MonkeyPatch.context() as monkeypatch:
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache() / "dec_jax-tests"))
    keep_programs()
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import jax  # noqa: E402

# An int where a float is asked for is right, as it is to Python itself.
typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))

# Each before the first use of its subject: jax's devices, the import of the library.
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "dec_jax").rglob("[a-z]*.py")
)
jaxtyping.install_import_hook(MODULES, f"{__name__}.typechecker")

hypothesis.settings.register_profile(
    "dec_jax", deadline=None, derandomize=True, database=None, max_examples=50
)
hypothesis.settings.load_profile("dec_jax")


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "error")
    # Another worker is just writing that program: it is compiled once more.
    config.addinivalue_line(
        "filterwarnings", "ignore:Error reading persistent compilation cache entry"
    )


@pytest.fixture(autouse=True)
def own_checks_answer(request, monkeypatch):
    """Turns the test's types off in tests that say `rejects`: the library must answer."""
    if "_rejects_" in request.node.name:
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Clears compiled programs once they hold many memory maps.

    The compiler crashes when a process has no maps left.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MANY_MAPS:
        jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def no_opinion():
    """Runs ask for no second opinion, which takes most of the time of a tiny one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dec_jax.runs.phases.FEWEST_FOR_OPINION", 10**9)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_report():
    """Runs write no report, which takes longer than a tiny run."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dec_jax.report.write.try_reports", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def with_opinion(no_opinion):
    """Runs ask for a second opinion, as they do for users."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dec_jax.runs.phases.FEWEST_FOR_OPINION", 30)
        yield


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session")
def blobs():
    """200 samples of 8 columns in 4 far clusters, float32, and their labels, int32."""
    rng = np.random.default_rng(0)
    centers = 4 * np.eye(4, 8) @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    labels = np.arange(200, dtype=np.int32) % 4
    noise = rng.normal(scale=0.5, size=(200, 8))
    return (centers[labels] + noise).astype(np.float32), labels


@pytest.fixture(scope="session")
def architecture():
    """8-16-3-16-8: what fits the blobs."""
    from dec_jax.networks.architecture import dense_architecture

    return dense_architecture(8, hidden=(16,), embedding_dim=3)


@pytest.fixture(scope="session")
def x(blobs):
    """The samples of the blobs, on the device."""
    return jax.numpy.asarray(blobs[0])


@pytest.fixture(scope="session")
def start(x, architecture):
    """An untrained network, and 4 centroids and labels by k-means on its embedding."""
    from dec_jax.clustering.kmeans import k_means
    from dec_jax.networks.autoencoder import encode, init_params

    key = jax.random.key(0)
    params = init_params(key, architecture)
    z = encode(params, x, architecture=architecture)
    clusters = k_means(key, z, 4, n_init=2)
    return params, clusters.centroids, clusters.labels


@pytest.fixture(scope="session")
def tiny_images():
    """6 random images of 5 x 7 pixels and 2 channels, flattened, float32 in [0, 1]."""
    return np.random.default_rng(0).random((6, 5 * 7 * 2), np.float32)


@pytest.fixture(scope="session")
def labeled(tmp_path_factory):
    """A table of three far blobs with their classes."""
    from programs import blob_table

    x, y = blob_table()
    path = tmp_path_factory.mktemp("labeled") / "blobs.npz"
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture(scope="session")
def unlabeled(tmp_path_factory):
    """The same table without classes."""
    from programs import blob_table

    path = tmp_path_factory.mktemp("unlabeled") / "blobs.npz"
    np.savez(path, x=blob_table()[0])
    return path
