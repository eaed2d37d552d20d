import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.validation import (
    check_choice,
    check_magnitude,
    check_n_clusters,
    check_positive_int,
    check_samples,
    check_seed,
    did_you_mean,
    expanded,
    is_traced,
    require,
)


def with_value(value, *positions):
    x = np.zeros((5, 4), np.float32)
    for position in positions:
        x[position] = value
    return x


@pytest.mark.parametrize(
    "x, message",
    [
        (with_value(np.nan, (2, 1)), r"column 1 holds NaN or infinity \(1 of 5 rows"),
        (with_value(np.inf, (2, 1)), "x must be finite: column 1 holds"),
        (with_value(-np.inf, (2, 1)), "x must be finite: column 1 holds"),
        (with_value(np.nan, (0, 3), (4, 3)), r"column 3 holds .*\(2 of 5 rows"),
        (with_value(np.nan, (0, 1), (4, 3)), "column 1 and 1 more columns holds"),
        (jnp.full((5, 4), jnp.nan), r"column 0 and 3 more columns .*\(5 of 5 rows"),
        (jnp.full((5, 4), jnp.nan, jnp.bfloat16), "column 0 and 3 more columns"),
        (np.zeros(5), r"x must have shape \[n, d\], got shape \(5,\); flatten"),
        (
            np.zeros((5, 4, 4)),
            r"got shape \(5, 4, 4\); flatten each sample with x.resh",
        ),
        (np.zeros(()), r"x must have shape \[n, d\], got shape \(\)"),
        (np.zeros((0, 4)), r"x is empty: its shape is \(0, 4\)"),
        (np.zeros((5, 0)), r"x is empty: its shape is \(5, 0\)"),
    ],
)
def test_check_samples_rejects_a_value(x, message):
    with pytest.raises(ValueError, match=message):
        check_samples(x)


@pytest.mark.parametrize(
    "x, message",
    [
        ([[0.0, 1.0]], r"x must be an array, got list; use numpy.asarray\(x\)"),
        (None, "x must be an array, got NoneType"),
        (np.array([["a"]]), "x must be numeric, got dtype <U1; encode text"),
        (np.array([[None]]), "x must be numeric, got dtype object"),
        (np.array([["2020-01-01"]], "datetime64[D]"), "x must be numeric, got dtype"),
        (np.zeros((5, 4), np.complex64), "x must be real, got dtype complex64"),
    ],
)
def test_check_samples_rejects_a_type(x, message):
    with pytest.raises(TypeError, match=message):
        check_samples(x)


def test_check_samples_rejects_by_the_name_it_is_given():
    with pytest.raises(ValueError, match=r"z must have shape .* z.reshape\(len\(z\)"):
        check_samples(np.zeros(5), "z")


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "int32", "int64", "float16", "float32", "float64"],
)
@pytest.mark.parametrize("array", [np.zeros, jnp.zeros], ids=["numpy", "jax"])
def test_check_samples_takes_any_real_dtype(array, dtype):
    if array is jnp.zeros and dtype.endswith("64"):
        dtype = dtype.replace("64", "32")
    check_samples(array((5, 4), dtype))


def test_check_samples_rejects_booleans():
    with pytest.raises(TypeError, match=r"got bool; use x.astype\('float32'\)"):
        check_samples(np.zeros((5, 4), bool))


def test_check_samples_rejects_integers_that_would_wrap():
    with pytest.raises(ValueError, match=r"x must fit 32-bit integers"):
        check_samples(np.full((5, 4), 2**33 + 5))


def test_check_samples_rejects_what_overflows_float32():
    x = np.ones((5, 4))
    x[2, 3] = 1e39
    with pytest.raises(ValueError, match=r"column 3 holds NaN or infinity \(1 of 5"):
        check_samples(x)


def test_check_samples_takes_bfloat16():
    check_samples(jnp.zeros((5, 4), jnp.bfloat16))
    check_samples(np.asarray(jnp.zeros((5, 4), jnp.bfloat16)))


def test_check_samples_takes_traced_values_and_checks_their_shape():
    def checked(x):
        check_samples(x)
        return x

    jax.jit(checked)(jnp.zeros((5, 4)))
    with pytest.raises(ValueError, match="x is empty"):
        jax.jit(checked)(jnp.zeros((0, 4)))


def test_is_traced_tells_a_tracer_from_an_array():
    seen = []
    jax.jit(lambda x: seen.append(is_traced(x)))(jnp.zeros(2))
    assert seen == [True]
    assert not is_traced(jnp.zeros(2))


@pytest.mark.parametrize("n_clusters", [1, 7])
def test_check_n_clusters_takes_one_to_n(n_clusters):
    check_n_clusters(n_clusters, 7)


@pytest.mark.parametrize(
    "n_clusters, message",
    [
        (0, "n_clusters must be at least 1, got 0"),
        (-1, "n_clusters must be at least 1, got -1"),
        (8, "Cannot place 8 centroids on 7 samples: n_clusters must be <= the number"),
    ],
)
def test_check_n_clusters_rejects_a_value(n_clusters, message):
    with pytest.raises(ValueError, match=message):
        check_n_clusters(n_clusters, 7)


@pytest.mark.parametrize("value", [1.0, "1", None, True])
def test_check_positive_int_rejects_a_type(value):
    with pytest.raises(TypeError, match=f"size must be an integer, got {value!r}"):
        check_positive_int("size", value)


@pytest.mark.parametrize("value", [0, -3, np.int32(0)])
def test_check_positive_int_rejects_a_value(value):
    with pytest.raises(ValueError, match=f"size must be at least 1, got {value}"):
        check_positive_int("size", value)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, 2**64])
def test_check_seed_rejects_what_a_generator_does_not_take(seed):
    with pytest.raises(
        ValueError, match=rf"--seed must be from 0 to 2\^32 - 1, got {seed}"
    ):
        check_seed(seed, "--seed")


@pytest.mark.parametrize("seed", [True, 1.5, "1", None])
def test_check_seed_rejects_a_type(seed):
    with pytest.raises(TypeError, match=f"seed must be an integer, got {seed!r}"):
        check_seed(seed)


def test_check_seed_takes_every_other():
    for seed in (0, 2**32 - 1):
        check_seed(seed)


def test_check_choice_rejects_an_unknown_name_with_the_nearest():
    with pytest.raises(ValueError, match="Unknown fruit 'aple'; did you mean 'apple'"):
        check_choice("fruit", "aple", ("apple", "pear"))


def test_check_choice_rejects_a_far_name_with_all_names():
    with pytest.raises(ValueError, match=r"Unknown fruit 'x'. Known: apple, pear"):
        check_choice("fruit", "x", ("apple", "pear"))


def test_did_you_mean_names_nothing_that_is_only_a_little_like_it():
    # "nonsense" and "income" share four of their letters.
    assert did_you_mean("nonsense", ["income", "age"]) == "."
    assert did_you_mean("incme", ["income", "age"]) == "; did you mean 'income'?"


def test_check_choice_takes_a_name():
    check_choice("fruit", "pear", ("apple", "pear"))


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_check_magnitude_rejects_the_first_row_that_is_too_large(array):
    x = array(with_value(-1e19, (3, 1), (4, 0)))
    message = (
        r"z must have rows of a norm of at most 2.1e\+18, .* got 1.0e\+19 in row 3;"
    )
    with pytest.raises(ValueError, match=message):
        check_magnitude(x, "z")


def test_check_magnitude_accepts_large_values_in_few_columns():
    # The bound of all values is exceeded, the norm of every row is not.
    check_magnitude(with_value(2e18, (3, 1)))


def test_check_magnitude_accepts_integers_and_traced_values():
    check_magnitude(np.full((3, 2), 2**31 - 1))
    jax.jit(lambda x: check_magnitude(x) or x)(jnp.full((3, 2), 1e30))


# Paths.


def test_expanded_finds_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/new.csv") == tmp_path / "new.csv"


def test_expanded_rejects_a_user_that_does_not_exist():
    with pytest.raises(ValueError) as caught:
        expanded("~nobody-here/new.csv")
    assert str(caught.value) == (
        "~nobody-here/new.csv begins with ~nobody-here, which names no home folder here; "
        "write ./~nobody-here/new.csv for a file or folder of that name."
    )


# Optional packages.


def test_require_gives_the_module():
    assert (
        require("json.decoder", extra="data", task="a test")
        is sys.modules["json.decoder"]
    )


@pytest.mark.parametrize(
    "module, package",
    [
        ("PIL", "Pillow"),
        ("sklearn.datasets", "scikit-learn"),
        ("umap", "umap-learn"),
        ("pandas", "pandas"),
        ("no_such_package.part", "no_such_package"),
    ],
)
def test_require_names_package_extra_and_task(module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        require(module, extra="images", task="reading images")
    assert str(caught.value) == (
        f'reading images needs {package}: pip install "dec_jax[images]"'
    )


def test_require_tells_a_broken_package_from_a_missing_one(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    message = (
        "a test needs broken_package, which fails to import "
        r"\(ModuleNotFoundError: No module named 'no_such_package'\): pip install"
    )
    with pytest.raises(ImportError, match=message):
        require("broken_package", extra="data", task="a test")
