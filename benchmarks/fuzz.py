"""Does any content of a file crash a reader, hang it, or fill the memory?

    python -m benchmarks.fuzz --minutes 60
    python -m benchmarks.fuzz --kinds npz csv --minutes 5 --seed 1

Takes a small valid file of each kind that `dec_jax` reads: arrays, sparse matrices, tables,
texts, images, IDX, cells, an ONNX encoder, an architecture, a model, the manifest of a checkpoint. It changes the content at random: flips bytes,
cuts, repeats, inserts, and puts in numbers and texts that break readers. Each file is read as
the library reads it, in a process of its own with little memory and a time limit. A file may
be read, or refused in one line of a ValueError, TypeError or OSError. Any other exception
is a traceback to a user, and counts as wrong, like a hang, a crash, or a sample that is not
finite.
"""

import argparse
import copy
import faulthandler
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz_files import (
    SETTINGS,
    blank_state,
    seeds,
    signed,
    write_companions,
)
from benchmarks.quality import new_parser, save_rows
from dec_jax.runs.errors import MISTAKES, check_least, exit_status
from dec_jax.validation import one_line

JSON = ("architecture", "checkpoint")
OUTCOMES = ("read", "refused", "wrong", "hung", "crashed")
SECONDS = 20  # that a reader may take for a file of a few kilobytes
MEMORY = 4 * 2**30  # bytes that a reader may ask for, above those of the libraries
BATCH = 400  # files that a process reads
LONGEST = 600  # characters of a message in one line
NUMBERS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1)
TEXTS = (
    *(b"1e400", b"-1e400", b"nan", b"inf", b"1e-320", b'"', b"'", b",", b";", b"\t"),
    *(b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[31m", b"{", b"}"),
    *(b"[", b"]", b"null", b"-1", b"9" * 400, b"<script>", b"../../x", b"%s%n"),
    *("٣".encode(), "Ä".encode("latin-1"), "\u202e".encode(), b"(", b"True", b"1_000"),
)
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 4, 2.5, 1e400, 10**30, "", "Dense", "1", "rectify"),
    *([], [1], [[1]], [-3], [4, 4, 1], {}, {"type": "Dense"}, {"type": "Conv2D"}),
)


class Hung(BaseException):
    """Ends a reader that takes too long; no reader takes it for an error of the file."""


def mutated(rng: np.random.Generator, content: bytes) -> bytes:
    """Changes a content in one to four random ways."""
    out = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        n = max(1, len(out))
        start = int(rng.integers(n))
        # Headers decide most, and stand at the beginning.
        start = start % 128 if rng.random() < 0.3 else start
        stop = start + int(rng.integers(1, 33))
        way = rng.integers(7)
        if way == 0:
            out[start : start + 1] = bytes([rng.integers(256)])
        elif way == 1:
            del out[start:stop]
        elif way == 2:
            out[start:start] = out[start:stop] * int(rng.integers(1, 9))
        elif way == 3:
            text = TEXTS[rng.integers(len(TEXTS))]
            stop = start + len(text) * int(rng.integers(2))
            out[start:stop] = text
        elif way == 4:
            size, order = rng.choice([1, 2, 4, 8]), rng.choice(["little", "big"])
            number = NUMBERS[rng.integers(len(NUMBERS))] % 256 ** int(size)
            out[start : start + size] = number.to_bytes(int(size), str(order))
        elif way == 5:
            del out[start + 1 :]
        else:
            other = int(rng.integers(n))
            out[start:stop] = out[other : other + stop - start]
    return bytes(out)


def mutated_json(rng: np.random.Generator, content: bytes) -> bytes:
    """Puts odd values in the place of one to three values of a JSON text."""
    tree = json.loads(content)
    for _ in range(rng.integers(1, 4)):
        place: Any = tree
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = keys[rng.integers(len(keys))]
            inner = place[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
                place = inner
                continue
            if rng.random() < 0.2:
                del place[key]
            else:
                place[key] = copy.deepcopy(ODD[rng.integers(len(ODD))])
            break
    # A manifest whose checksum is wrong is not read any further.
    return signed(tree) if "manifest_sha256" in tree else json.dumps(tree).encode()


def read(kind: str, path: Path) -> None:
    """Reads a file as the library does; raises ArithmeticError for samples not finite."""
    from dec_jax import model
    from dec_jax.data.load import load_dataset
    from dec_jax.networks.architecture_json import load_architecture
    from dec_jax.runs import checkpoint

    if kind == "architecture":
        load_architecture(path)
    elif kind == "model":
        model.load(path)
    elif kind == "checkpoint":
        templates = {"train": blank_state}
        checkpoint.restore(path.parents[1], templates, settings=SETTINGS)
    else:
        if kind.startswith("idx"):
            found = load_dataset("mnist", path.parents[1])
        elif kind == "onnx":
            found = load_dataset(path.parent / "photos", encoder=str(path))
        elif path.parent.name == "photos":
            found = load_dataset(path.parent, image_size=8)
        else:
            found = load_dataset(path)
        if not np.isfinite(np.asarray(found.x, np.float32)).all():
            raise ArithmeticError("samples are not finite")


def outcome(kind: str, path: Path) -> tuple[str, str]:
    """Reads a file; returns what came of it, and the message."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(kind, path)
    except Hung:
        return "hung", f"after {SECONDS} s"
    except MISTAKES as error:
        text = one_line(error)
        plain = "\n" not in str(error) and 5 < len(text) < LONGEST
        return ("refused" if plain else "wrong"), f"{type(error).__name__}: {text}"
    # Whatever it is, it would have been a traceback.
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {one_line(error)}"
    return "read", ""


def work(kind: str, seed: int, turns: range, folder: Path) -> None:
    """Reads a batch of files in this process, and prints a line before and after each."""
    name, content = seeds()[kind]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    write_companions(path)
    found, text = outcome(kind, path)  # loads the libraries
    if found != "read":
        raise RuntimeError(f"the valid file of kind {kind} is refused: {text}")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))

    def hang(*_: object) -> None:
        raise Hung

    signal.signal(signal.SIGALRM, hang)
    for turn in turns:
        rng = np.random.default_rng([seed, turn])
        changed = mutated
        if kind in JSON and rng.random() < 0.8:
            changed = mutated_json
        path.write_bytes(changed(rng, content))
        print(f"{turn} ", end="", flush=True)
        signal.alarm(SECONDS)
        # A loop inside a C library hears no signal: this ends the process.
        faulthandler.dump_traceback_later(2 * SECONDS, exit=True)
        found, text = outcome(kind, path)
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        print(f"{found} {text[:200]}".encode("ascii", "replace").decode(), flush=True)


def batch(
    kind: str, seed: int, first: int, size: int = BATCH
) -> tuple[Counter[str], int]:
    """Has a process read a batch; returns the outcomes, and the next turn."""
    with tempfile.TemporaryDirectory(prefix="dec_jax-") as folder:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--seed", str(seed)]
        command += ["--kinds", kind, "--folder", folder]
        command += ["--turns", str(first), str(first + size)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60 + SECONDS * size,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
    counts: Counter[str] = Counter()
    turn = first
    for line in done.stdout.splitlines():
        number, found, *text = line.split(" ", 2) + [""]
        turn = int(number)
        counts[found or "crashed"] += 1
        if found not in ("read", "refused"):
            print(f"{kind} {turn}: {found or 'crashed'} {text[0]}", flush=True)
    if not done.stdout:
        raise RuntimeError(done.stderr.splitlines()[-1])
    return counts, turn + 1


def rows_of(counts: dict[str, Counter[str]]) -> list[dict[str, Any]]:
    """Makes a row of outcomes for each kind, and one for all of them."""
    total = sum(counts.values(), Counter[str]())
    return [
        {"kind": kind, **{name: found[name] for name in OUTCOMES}}
        for kind, found in [*counts.items(), ("all", total)]
    ]


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    check_least(vars(options), minutes=1, seed=0)
    if options.turns is not None:
        return work(
            options.kinds[0], options.seed, range(*options.turns), options.folder
        )
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in options.kinds}
    turns = dict.fromkeys(options.kinds, 0)
    end = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        for kind in options.kinds:
            found, turns[kind] = batch(kind, options.seed, turns[kind])
            counts[kind] += found
        if options.save:
            save_rows(options.save, rows_of(counts))
    print(f"{'kind':<14}" + "".join(f"{name:>10}" for name in OUTCOMES))
    for row in rows_of(counts):
        print(f"{row['kind']:<14}" + "".join(f"{row[name]:>10}" for name in OUTCOMES))


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("fuzz", __doc__, data=False, save=True)
    out.add_argument(
        "--kinds", metavar="KIND", nargs="+", default=list(KINDS), choices=KINDS
    )
    out.add_argument("--minutes", metavar="N", type=int, default=10)
    out.add_argument("--seed", metavar="S", type=int, default=0)
    # What a process of its own is told.
    out.add_argument("--turns", type=int, nargs=2, help=argparse.SUPPRESS)
    out.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; --save kept whole rounds.")


KINDS = (
    *("npy", "npz", "sparse", "csv", "tsv", "txt", "png", "jpeg", "tiff", "gif", "bmp"),
    *(
        "webp",
        "idx",
        "idx.gz",
        "parquet",
        "h5ad",
        "onnx",
        "checkpoint",
        "architecture",
        "model",
    ),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
