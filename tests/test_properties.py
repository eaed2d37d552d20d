"""Samples of any type, shape, range and order: a valid result, or one clear line.

Hypothesis draws the samples. Shapes of what is compiled are few, so that programs are too.
"""

import tempfile
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

import dec_jax as dj
from dec_jax.data.dataset import Dataset
from dec_jax.data.load import load_dataset
from dec_jax.evaluation.judge import choose_labels
from dec_jax.runs.fit import as_dataset

NUMBERS = (
    *("float16", "float32", "float64", ">f4", ">f8", "bool"),
    *("int8", "int16", "int32", "int64", ">i2", "uint8", "uint16", "uint32", "uint64"),
)
OTHER_TYPES = ("complex64", "U3", "S3", "O", "M8[s]")
SMALL = dj.dense_architecture(2, hidden=(8,), embedding_dim=2)
CLUSTERS = 3


@st.composite
def layouts(draw, x):
    """The same array, perhaps read-only, in the other order, or a view with steps."""
    kind = draw(
        st.sampled_from(["as it is", "read-only", "Fortran", "view", "reversed"])
    )
    if kind == "read-only":
        x.flags.writeable = False
    elif kind == "Fortran":
        x = np.asfortranarray(x)
    elif kind == "view":
        x = np.repeat(x, 2, axis=0)[::2] if x.ndim else x
    elif kind == "reversed":
        x = x[::-1] if x.ndim else x
    return x


@st.composite
def any_arrays(draw):
    """Arrays of up to five dimensions, some empty, of any type and with any content."""
    shape = draw(of_numpy.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6))
    kind = draw(st.sampled_from(NUMBERS + OTHER_TYPES))
    if kind == "O":
        content = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=2))
        return draw(of_numpy.arrays(np.dtype("O"), shape, elements=content))
    return draw(layouts(draw(of_numpy.arrays(np.dtype(kind), shape))))


@st.composite
def tables(draw, n, d):
    """Finite samples [n, d] of any unit, with equal rows, constants and rows far away."""
    scale = 10.0 ** draw(st.integers(-30, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(n, d)) * scale
    offset = draw(st.sampled_from([0.0, 1.0, -1e3, 1e6])) * scale
    x = x + offset
    for _ in range(draw(st.integers(0, 2))):
        x[rng.integers(n, size=n // 2)] = x[rng.integers(n)]
    if draw(st.booleans()):
        x[:, rng.integers(d)] = draw(st.sampled_from([0.0, scale, -7.0]))
    if draw(st.booleans()):
        x[rng.integers(n)] *= 1e6
    kind = draw(st.sampled_from(["float32", "float64", "float16", "int16", "bool"]))
    if kind not in ("float32", "float64"):
        # As many different values as the type can hold.
        x = np.nan_to_num(x / max(np.abs(x).max(), 1e-300)) * (
            1 if kind == "bool" else 99
        )
    return draw(layouts(x.astype(kind)))


@st.composite
def sparse_matrices(draw):
    """CSR or CSC with empty rows, stored zeros and entries that repeat, and its dense form."""
    n, d = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    kind = np.dtype(draw(st.sampled_from(["float32", "float64", "int32", "int64"])))
    by_rows = draw(st.booleans())
    outer, inner = (n, d) if by_rows else (d, n)
    counts = draw(st.lists(st.integers(0, 4), min_size=outer, max_size=outer))
    places = [draw(st.integers(0, inner - 1)) for _ in range(sum(counts))]
    data = draw(of_numpy.arrays(kind, len(places)))
    starts = np.concatenate([[0], np.cumsum(counts)])
    dense = np.zeros((n, d), kind)
    for line in range(outer):
        for entry in range(starts[line], starts[line + 1]):
            place = (line, places[entry])[:: 1 if by_rows else -1]
            with np.errstate(all="ignore"):
                dense[place] += data[entry]
    make = scipy.sparse.csr_matrix if by_rows else scipy.sparse.csc_matrix
    return make((data, np.array(places, np.int32), starts), shape=(n, d)), dense


def one_line(error):
    """Whether the text is one line of words, not too long, with no object's address."""
    text = str(error)
    return 10 < len(text) < 500 and "\n" not in text and " at 0x" not in text


@settings(max_examples=300)
@given(any_arrays())
def test_as_dataset_reads_finite_samples_or_rejects_the_array_in_one_line(x):
    before = x.copy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = as_dataset(x)
    except (TypeError, ValueError) as error:
        assert one_line(error)
    else:
        assert isinstance(found, Dataset)
        assert found.x.ndim == 2 and len(found.x) == len(x) > 0
        assert np.isfinite(found.x.astype(np.float32)).all()
        assert found.x.dtype.kind in "fiu"
    if x.dtype == object:
        assert all(one is other for one, other in zip(x.flat, before.flat, strict=True))
    else:
        np.testing.assert_array_equal(x, before)


@settings(max_examples=200)
@given(sparse_matrices())
def test_sparse_file_is_its_dense_form_or_both_are_rejected_in_one_line(pair):
    matrix, dense = pair
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sparse.npz"
        scipy.sparse.save_npz(path, matrix)
        before = path.read_bytes()
        try:
            found = load_dataset(path, standardize=False)
        except (TypeError, ValueError) as error:
            assert one_line(error)
            with pytest.raises((TypeError, ValueError)):
                as_dataset(dense, standardize=False)
        else:
            np.testing.assert_array_equal(found.x, dense)
        assert path.read_bytes() == before


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.coo_array])
def test_fit_rejects_a_sparse_matrix_in_memory(kind):
    x = kind(np.eye(12, 2))
    with pytest.raises(TypeError, match="got a sparse c.*; give x.toarray"):
        dj.fit(x, CLUSTERS)


@settings(max_examples=40)
@given(tables(12, 2))
def test_fit_labels_every_sample_or_rejects_the_array_in_one_line(x):
    before = x.copy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = dj.fit(
                x,
                CLUSTERS,
                recipe="dec",
                network=SMALL,
                epochs=1,
                max_intervals=1,
                precision="float32",
                baseline=False,
            )
            predicted = found.predict(x)
    except (TypeError, ValueError, FloatingPointError) as error:
        assert one_line(error)
    else:
        assert found.labels.dtype == np.int32
        assert ((found.labels >= 0) & (found.labels < CLUSTERS)).all()
        np.testing.assert_allclose(found.q.sum(axis=1), 1, rtol=1e-5)
        assert np.isfinite(found.z).all() and np.isfinite(found.centroids).all()
        # Centroids may coincide, up to rounding.
        own = np.take_along_axis(found.q, predicted[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(own, found.q.max(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(x, before)


@settings(max_examples=15)
@given(tables(30, 3), st.integers(2, 6))
def test_simple_methods_label_every_sample(x, n_clusters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        samples = as_dataset(x).x
        before = samples.copy()
        found = choose_labels(samples, n_clusters)
    assert found.labels.shape == (30,)
    assert ((found.labels >= 0) & (found.labels < n_clusters)).all()
    np.testing.assert_array_equal(samples, before)


@settings(max_examples=30)
@given(
    of_numpy.arrays(
        np.float32,
        (6, 2),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_soft_assignment_of_finite_values_is_a_distribution_or_rejects_them(values):
    z, centroids = jnp.asarray(values[:4]), jnp.asarray(values[4:])
    try:
        q = np.asarray(dj.soft_assignment(z, centroids))
    except ValueError as error:
        assert one_line(error)
        # Squares of smaller values fit float32.
        assert np.abs(values).max() > 1e18
    else:
        np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)


def test_a_mapped_array_is_read_and_not_changed(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32))
    before = path.read_bytes()
    mapped = np.load(path, mmap_mode="r")
    found = dj.fit(
        mapped,
        2,
        recipe="dec",
        network=SMALL,
        epochs=1,
        max_intervals=1,
        baseline=False,
    )
    assert found.labels.shape == (12,)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "n", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))]
)
def test_fit_takes_very_few_samples(n):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = dj.fit(
            np.arange(n, dtype=np.float32)[:, None] + 1,
            n,
            recipe="dec",
            network=dj.dense_architecture(1, hidden=(4,), embedding_dim=1),
            epochs=1,
            max_intervals=1,
        )
    assert found.labels.shape == (n,)
    assert ((found.labels >= 0) & (found.labels < n)).all()
