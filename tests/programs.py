"""Runs a command in this process, and makes small inputs for it."""

import contextlib
import csv
import io
import json
import os
import signal
from types import SimpleNamespace

import numpy as np

from dec_jax.cli.main import main
from dec_jax.runs import run as seed_run
from dec_jax.runs import vectorized

# The same for most runs, so that they share compiled programs.
SHORT = ("--epochs", 2, "--max-intervals", 3)


def program(main, *arguments):
    """Runs a program in this process: its exit status and the text that it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code
    return SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue())


def cluster(*arguments):
    """Runs `dec-jax cluster` in this process."""
    return program(main, "cluster", *arguments)


def assert_refused(run, message, out=None):
    """A mistake of use: one line that tells it, status 2, and no folder of results."""
    assert run.status == 2, run.err
    assert run.err.startswith("error: ") and message in run.err, run.err
    assert run.err.count("\n") == 1, run.err
    assert out is None or not out.exists()


def read_csv(path):
    """The rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_json(path):
    """The content of a JSON file."""
    return json.loads(path.read_text())


def blob_table():
    """90 rows of 36 numbers: the first, the second or every other half is large."""
    centers = np.zeros((3, 36), np.float32)
    centers[0, :18] = centers[1, 18:] = centers[2, ::2] = 0.8
    classes = np.arange(90) % 3
    noise = np.random.default_rng(0).normal(0, 0.1, (90, 36))
    return (centers[classes] + noise).astype(np.float32), classes


def write_network(path, *widths):
    """Writes a dense network, such as 36-16-3, as a JSON file."""
    layers = [{"type": "Input", "output_shape": [widths[0]]}]
    for width in widths[1:]:
        activation = "linear" if width == widths[-1] else "rectify"
        layers.append(
            {"type": "Dense", "num_units": width, "non_linearity": activation}
        )
    path.write_text(json.dumps({"output_non_linearity": "linear", "layers": layers}))
    return path


def without_mnist(monkeypatch, folder):
    """Leaves no folder and no cache of data sets, and no way to download one."""
    monkeypatch.delenv("DEC_JAX_DATA", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "tfds"))
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)


def interrupt_at(
    monkeypatch,
    title,
    *counts,
    nth=None,
    modules=(seed_run, vectorized),
    signal_number=signal.SIGINT,
):
    """Sends a signal, that of Ctrl-C if none is named, once the bar of a phase has come to each of `counts`.

    With `nth`, only the bar of that title that is opened as the nth one counts.
    """
    bar_of, opened = seed_run.bar_of, []

    def watched(name, *arguments):
        bar = bar_of(name, *arguments)
        update = bar.update
        opened.append(name)
        mine = name == title and nth in (None, opened.count(title))

        def update_and_signal(steps=1):
            update(steps)
            for _ in range(counts.count(bar.n) if mine else 0):
                os.kill(os.getpid(), signal_number)

        bar.update = update_and_signal
        return bar

    for module in modules:
        monkeypatch.setattr(module, "bar_of", watched)
