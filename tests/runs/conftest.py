"""A tiny network and small data for runs: their time goes into compiling, not training."""

from types import SimpleNamespace

import pytest
from programs import SHORT, cluster, write_network

from dec_jax.runs import folder as run_folder


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A file with the network 36-16-3."""
    return write_network(tmp_path_factory.mktemp("network") / "small.json", 36, 16, 3)


@pytest.fixture(scope="session")
def small_digits(tmp_path_factory):
    """A file with the network 64-16-4, for the digits."""
    path = tmp_path_factory.mktemp("network") / "digits.json"
    return write_network(path, 64, 16, 4)


@pytest.fixture(scope="session")
def on_blobs(labeled, small):
    """Options of a short run on the labeled table."""
    return (labeled, "--recipe", "dec", "--architecture", small, *SHORT)


@pytest.fixture
def no_figures(monkeypatch):
    """Runs that draw nothing, where figures are not what is tested."""
    monkeypatch.setattr(run_folder, "figures_of", lambda *_: {})


@pytest.fixture(scope="module")
def finished(on_blobs, tmp_path_factory):
    """An unbroken run of two seeds on the labeled table."""
    out = tmp_path_factory.mktemp("finished") / "out"
    seeds = ("--seeds", 2, "--seed", 3, "--out", out)
    run = cluster(*on_blobs, *seeds)
    return SimpleNamespace(folder=out, inner=out / "seed-3", **vars(run))


@pytest.fixture(scope="session")
def on_digits(small_digits):
    """Options of a short run on images."""
    return ("--recipe", "dec", "--architecture", small_digits, *SHORT)


@pytest.fixture(scope="module")
def digits(on_digits, tmp_path_factory):
    """An unbroken run on images."""
    out = tmp_path_factory.mktemp("digits") / "out"
    run = cluster("digits", "--out", out, *on_digits)
    return SimpleNamespace(folder=out, **vars(run))
