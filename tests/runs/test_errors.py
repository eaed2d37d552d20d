import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.runs.errors import RunFailed, UsageError, exit_status, mistakes_of_use


def raising(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    "error, status, line",
    [
        (UsageError("--seeds must\nbe 1."), 2, "error: --seeds must be 1.\n"),
        (UsageError("no a\x1b[31m\udcfc"), 2, "error: no a\\x1b[31m\\udcfc\n"),
        (RunFailed("The loss is nan."), 1, "error: The loss is nan.\n"),
        (OSError(28, "Full", "a"), 1, "error: OSError: [Errno 28] Full: 'a'\n"),
        (KeyboardInterrupt(), 130, "\nStopped.\n"),
        (KeyboardInterrupt("Resume it."), 130, "\nResume it.\n"),
    ],
)
def test_exit_status_tells_mistakes_from_failures(error, status, line, capsys):
    assert exit_status(raising(error), "Stopped.") == status
    assert capsys.readouterr() == ("", line)


def test_exit_status_of_a_run_that_ends_well_is_0(capsys):
    assert exit_status(lambda: print("done"), "Stopped.") == 0
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize(
    "message, expected",
    [
        ("n_clusters must be 1", "-k must be 1"),
        ("config.n_clusters and n_clusters=3", "config.n_clusters and n_clusters=3"),
        ("my_n_clusters", "my_n_clusters"),
        ("two\nlines", "two lines"),
    ],
)
def test_mistakes_of_use_names_options_as_typed(message, expected):
    with pytest.raises(UsageError) as caught, mistakes_of_use("n_clusters"):
        raise ValueError(message)
    assert str(caught.value) == expected


def test_a_name_of_one_word_is_an_option_where_a_message_begins_with_it():
    with pytest.raises(UsageError) as caught, mistakes_of_use("names"):
        raise ValueError("names x.txt must hold names")
    assert str(caught.value) == "--names x.txt must hold names"


def test_mistakes_of_use_leaves_other_errors_alone():
    with pytest.raises(KeyError, match="lost"), mistakes_of_use():
        raise KeyError("lost")


def test_a_reader_that_has_enough_ends_the_output_quietly():
    """As in `dec-jax recipes | head -1`."""
    program = (
        "import sys; from dec_jax.runs.errors import exit_status, mistakes_of_use\n"
        "def run():\n"
        "    with mistakes_of_use():\n"
        "        for _ in range(9999): print('line ' * 99, flush=True)\n"
        "sys.exit(exit_status(run, ''))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"line")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "program, cause",
    [
        (lambda: np.ones(2**55), "(Unable to allocate 256. PiB for an array"),
        (lambda: jnp.ones(2**55, jnp.uint8) + 1, "(RESOURCE_EXHAUSTED: Out of memory"),
        (raising(MemoryError()), "full. Try"),
    ],
)
def test_a_full_memory_is_one_line(program, cause, capsys):
    assert exit_status(program, "Stopped.") == 1
    out, line = capsys.readouterr()
    assert out == "" and line.startswith("error: The memory is full") and cause in line
    assert line.count("\n") == 1 and "--batch-size" in line and len(line) < 500


def test_other_errors_of_a_program_keep_their_traceback():
    with pytest.raises(RuntimeError, match="lost"):
        exit_status(raising(RuntimeError("lost")), "Stopped.")
