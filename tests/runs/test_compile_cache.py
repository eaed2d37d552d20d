import os
import subprocess
import sys
from pathlib import Path

import jaxlib
import pytest

from dec_jax.runs import compile_cache
from dec_jax.runs.compile_cache import keep_programs

ROOT = Path(__file__).parents[2]
JAXLIB = tuple(map(int, jaxlib.__version__.split(".")[:2]))
FOLDER, LEAST = (
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder for caches, and a process that nobody has told anything."""
    for name in (*compile_cache.DECISIVE, LEAST):
        # So that it is gone again after the test, too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compile_cache.metadata, "version", lambda _: "0.12.1")
    return tmp_path


def test_programs_are_kept_in_the_users_cache(home):
    keep_programs()
    folder = Path(os.environ[FOLDER])
    assert folder.is_dir() and folder.parent == home / "dec_jax" / "xla"
    assert folder.name == f"0.12.1-{compile_cache.processor()}"
    assert os.environ[LEAST] == "0"


@pytest.mark.parametrize("name", compile_cache.DECISIVE)
def test_a_variable_of_jax_wins(home, monkeypatch, name):
    monkeypatch.setenv(name, "false")
    keep_programs()
    assert os.environ[name] == "false"
    assert LEAST not in os.environ and list(home.iterdir()) == []


def test_an_old_jaxlib_keeps_nothing(home, monkeypatch):
    monkeypatch.setattr(compile_cache.metadata, "version", lambda _: "0.11.9")
    keep_programs()
    assert FOLDER not in os.environ and list(home.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_no_error(home):
    (home / "dec_jax").touch()
    keep_programs()
    assert FOLDER not in os.environ


@pytest.mark.parametrize(
    "system, variables, expected",
    [
        ("linux", {}, ".cache"),
        ("linux", {"XDG_CACHE_HOME": "/there"}, "/there"),
        ("darwin", {}, "Library/Caches"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
    ],
)
def test_user_cache_is_that_of_the_system(
    home, monkeypatch, system, variables, expected
):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(compile_cache.sys, "platform", system)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert compile_cache.user_cache() == Path.home() / expected


def test_another_processor_has_another_folder(monkeypatch):
    own = compile_cache.processor()
    assert own == compile_cache.processor()
    monkeypatch.setattr(compile_cache.platform, "machine", lambda: "another")
    assert compile_cache.processor() != own


@pytest.mark.parametrize("package", ["experiments", "dec_jax.cli.main"])
def test_experiments_and_the_command_keep_programs(home, package):
    script = (
        "import os, sys\n"
        f"from {package} import __name__ as name\n"
        "if name == 'dec_jax.cli.main':\n"
        "    from dec_jax.cli.main import main\n"
        "    main(['recipes'])\n"
        f"print(os.environ.get('{FOLDER}'), 'jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    folder, loaded = done.stdout.splitlines()[-1].split()
    assert (folder.startswith(str(home)), loaded) == (True, "False"), done.stderr


@pytest.mark.skipif(JAXLIB < compile_cache.OLDEST_JAXLIB, reason="keeps nothing")
def test_a_second_process_finds_what_the_first_compiled(home):
    program = (
        "from dec_jax.runs.compile_cache import keep_programs\n"
        "keep_programs()\n"
        "import jax\n"
        "events = []\n"
        "jax.monitoring.register_event_listener(lambda name, **_: events.append(name))\n"
        "print(jax.jit(lambda x: x.sum())(jax.numpy.arange(7.0)))\n"
        "print('/jax/compilation_cache/cache_hits' in events)\n"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
        )
        for _ in range(2)
    ]
    # Nothing on the way is warned of.
    assert [answer.stderr for answer in answers] == ["", ""]
    assert [answer.stdout.split() for answer in answers] == [
        ["21.0", "False"],
        ["21.0", "True"],
    ]


PROGRAMS = """
from dec_jax.runs.compile_cache import check_programs, keep_programs
keep_programs()
import jax
check_programs()
check_programs()
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append("cache_hits" in name))
x = jax.numpy.arange(7.0)
print(jax.jit(lambda x: x + 1)(x)[1], jax.jit(lambda x, y: x - y)(x, x)[1], sum(hits))
"""


@pytest.mark.skipif(JAXLIB < compile_cache.OLDEST_JAXLIB, reason="keeps nothing")
@pytest.mark.parametrize(
    "damage",
    [
        "exchanged",
        pytest.param("flipped", marks=pytest.mark.slow),
        pytest.param("cut off", marks=pytest.mark.slow),
    ],
)
def test_programs_that_are_damaged_are_compiled_again(home, damage):
    def answer():
        command = [sys.executable, "-c", PROGRAMS]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert answer() == ["2.0", "0.0", "0"]
    *_, hits = answer()
    one, other = sorted((home / "dec_jax/xla").rglob("jit__lambda*-cache"))
    before = (one.read_bytes(), other.read_bytes())
    changed = {
        "exchanged": before[::-1],
        "flipped": tuple(bytes([*it[:-9], it[-9] ^ 1, *it[-8:]]) for it in before),
        "cut off": tuple(it[: len(it) // 2] for it in before),
    }[damage]
    for path, content in zip((one, other), changed, strict=True):
        path.write_bytes(content)
    assert answer() == ["2.0", "0.0", str(int(hits) - 2)]
    # They were written again.
    assert answer() == ["2.0", "0.0", hits]


def test_no_home_is_no_error(home, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    keep_programs()
    assert FOLDER not in os.environ


def test_a_folder_that_cannot_be_written_to_is_left_alone(home, monkeypatch):
    monkeypatch.setattr(compile_cache.os, "access", lambda *_: False)
    keep_programs()
    assert FOLDER not in os.environ
