"""The digits that the program of Aljalbout et al. is given; no program may ask a question."""

import builtins
from pathlib import Path

import numpy as np
import pytest
from aljalbout_runs import N_SAMPLES, network_file

from dec_jax.data import load as data

# Fixtures that are whole runs of programs whose options have quick tests.
RUNS = {
    *("finished", "without_labels", "pretrained", "kld", "both"),
    *("of_kind", "on_digits", "swept"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Puts the tests of whole runs into the slow tier."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and RUNS & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    """-d and -a of some digits and the network with batch normalization."""
    folder = tmp_path_factory.mktemp("data")
    digits = data.load_dataset("digits")
    images = digits.x[:N_SAMPLES].reshape(-1, 8, 8)
    np.savez(folder / "few.npz", x=images, y=digits.labels[:N_SAMPLES])
    return ("-d", folder / "few.npz", "-a", f"{network_file(folder)}:2")


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch):
    """A program that asks a question would wait for ever."""
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("asks for a command"))
