"""Do the tests of the maths see a small fault in it?

    python -m benchmarks.mutation                         # 50 faults in each module
    python -m benchmarks.mutation --modules kmeans --limit 1000
    python -m benchmarks.mutation --save mutation-cpu --again # only those that survived before

Puts one small fault at a time into a module: a comparison, an operator, a number or a
condition changed, a keyword left out, a function swapped for its opposite, two results
exchanged. Then it runs the tests of that module on a copy of the checkout. A fault that no test
sees survives: either it changes nothing that counts, as `equal_mutants.json` says with the
reason, or a test is missing. The score is the share of the others that a test saw.

Each run of tests is forked from a process that has imported the libraries but not
`dec_jax`. A fault that makes the tests take four times as long counts as seen.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.quality import new_parser, save_rows
from benchmarks.tables import RESULTS
from dec_jax.runs.errors import RunFailed, check_least, exit_status

ROOT = Path(__file__).parents[1]
EQUAL = Path(__file__).with_name("equal_mutants.json")
# Each module, and the files in tests/ that hold what it does; the quickest first.
TESTS = {
    "objectives/losses": ["objectives/test_objectives"],
    "clustering/assignment": [
        *("clustering/test_assignment", "clustering/test_target_distribution"),
        "training/test_targets",
    ],
    "clustering/kmeans": ["clustering/test_kmeans"],
    "evaluation/metrics": ["evaluation/test_metrics", "evaluation/test_matching"],
    "training/refresh": [
        *("training/test_refresh", "training/test_patience", "training/test_targets"),
        *("training/test_soft_reset", "objectives/test_vade"),
    ],
    "training/cluster": [
        *("training/test_cluster_step", "training/test_cluster_stopping"),
        *("training/test_cluster", "training/test_cluster_inputs"),
    ],
}
OPPOSITES = [
    *(("max", "min"), ("argmax", "argmin"), ("any", "all"), ("sum", "mean")),
    *(("maximum", "minimum"), ("ones", "zeros"), ("log", "exp"), ("log1p", "expm1")),
    *(("pmean", "psum"), ("concatenate", "stack"), ("zeros_like", "ones_like")),
]
SWAPPED = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
# The fixtures of whole runs, which the maths has none of, import all of the library.
NO_RUNS = """

@pytest.fixture(scope="session", autouse=True)
def no_opinion():
    pass


@pytest.fixture(scope="session", autouse=True)
def no_report():
    pass
"""
# Forks a run of tests for each line of its input; tells how it ended.
SERVER = """
import json, os, sys, time
import beartype, chex, flax, hypothesis, jax, jaxtyping, optax, orbax.checkpoint, pytest
import scipy.optimize, scipy.special, sklearn.metrics, sklearn.cluster, xdist
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os._exit(int(pytest.main(job["arguments"])))
    end, status = time.monotonic() + job["seconds"], None
    while status is None:
        done, code = os.waitpid(child, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(code)
        elif time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            status = "hung"
        else:
            time.sleep(0.01)
    print(json.dumps(status), flush=True)
"""


class Mutant(NamedTuple):
    """A fault: the place in the source, and the text that takes it."""

    module: str
    start: tuple[int, int]  # line, from 1, and byte in it
    stop: tuple[int, int]
    line: str  # of the source, where the fault begins
    old: str
    new: str

    @property
    def identity(self) -> tuple[str, ...]:
        """The parts that stay if other lines of the module change."""
        return self.module, self.line, self.old, self.new


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """Makes the faults that an expression can have."""
    match node:
        case ast.Compare(left, [op], comparators) if type(op) in COMPARISONS:
            yield ast.Compare(left, [COMPARISONS[type(op)]()], comparators)
        case ast.Compare(left, [first, second], comparators):
            yield ast.Compare(left, [COMPARISONS[type(first)](), second], comparators)
            yield ast.Compare(left, [first, COMPARISONS[type(second)]()], comparators)
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            yield ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Tuple([first, second, *rest], ast.Load()) if not any(
            isinstance(part, ast.Slice) for part in node.elts
        ):
            yield ast.Tuple([second, first, *rest], ast.Load())
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(float() as value):
            yield ast.Constant(2 * value or 1.0)
        case ast.Attribute(value, name, context) if name in SWAPPED:
            yield ast.Attribute(value, SWAPPED[name], context)
        case ast.Name(name, ast.Load() as context) if name in SWAPPED:
            yield ast.Name(SWAPPED[name], context)
        case ast.Call(function, args, keywords):
            for left_out in range(len(keywords)):
                kept = [*keywords[:left_out], *keywords[left_out + 1 :]]
                yield ast.Call(function, args, kept)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Walks the expressions that compute: no types, texts, decorators, or messages."""
    if isinstance(node, ast.expr):
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "exc"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from _parts(child)


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Makes all faults of a module, in the order of their places."""
    lines, found = source.splitlines(), []
    for node in _parts(ast.parse(source)):
        assert isinstance(node, ast.expr)
        assert node.end_lineno is not None and node.end_col_offset is not None
        for changed in _changes(node):
            found.append(
                Mutant(
                    module,
                    (node.lineno, node.col_offset),
                    (node.end_lineno, node.end_col_offset),
                    lines[node.lineno - 1].strip(),
                    ast.unparse(node),
                    ast.unparse(changed),
                )
            )
    return sorted(set(found))


def mutated(source: str, mutant: Mutant) -> str:
    """Puts a fault into a source."""
    lines = source.encode().splitlines(keepends=True)
    (first, begin), (last, end) = mutant.start, mutant.stop
    head, tail = lines[first - 1][:begin], lines[last - 1][end:]
    place = head + f"({mutant.new})".encode() + tail
    return b"".join([*lines[: first - 1], place, *lines[last:]]).decode()


class Checkout:
    """A copy of the checkout with a process that runs its tests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.turn = folder / "checkout", 0
        for name in ("dec_jax", "tests", "benchmarks"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self.folder / name, ignore=ignored)
        shutil.copy(ROOT / "setup.cfg", self.folder)
        with (self.folder / "tests" / "conftest.py").open("a") as file:
            file.write(NO_RUNS)
        self.log = folder / "log.txt"
        environment = {
            **os.environ,
            # As tests/conftest.py sets them, which comes too late here.
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "OMP_NUM_THREADS": "1",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "PYTHONPATH": str(self.folder),
        }
        self.server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def write(self, module: str, source: str) -> None:
        """Writes a module, with a time of its own: Python compares times in seconds."""
        path = self.folder / "dec_jax" / f"{module}.py"
        path.write_text(source)
        self.turn += 1
        moment = time.time() + 2 * self.turn
        os.utime(path, (moment, moment))

    def test(self, module: str, seconds: float) -> int | str:
        """Runs the tests of a module until one fails.

        Returns:
          The status of pytest, or "hung".
        """
        files = [f"tests/{name}.py" for name in TESTS[module]]
        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not slow"]
        job = {"log": str(self.log), "arguments": [*options, *files]}
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps({**job, "seconds": seconds}) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())


def equal_mutants() -> dict[tuple[str, ...], str]:
    """Reads the faults that change nothing that counts, with the reason."""
    return {
        (entry["module"], entry["line"], entry["old"], entry["new"]): entry["reason"]
        for entry in json.loads(EQUAL.read_text())
    }


def measure(
    checkout: Checkout, module: str, chosen: list[Mutant]
) -> Iterator[tuple[Mutant, bool]]:
    """Tests the faults of a module; yields each, and whether a test saw it."""
    source = (ROOT / "dec_jax" / f"{module}.py").read_text()
    # Twice: the first run compiles.
    for _ in range(2):
        start = time.monotonic()
        if checkout.test(module, 3600) != 0:
            raise RunFailed(f"the tests of {module} fail without a fault.")
        seconds = time.monotonic() - start
    print(f"{module}: {len(chosen)} faults, tests of {seconds:.0f} s", flush=True)
    for mutant in chosen:
        checkout.write(module, mutated(source, mutant))
        found = checkout.test(module, 4 * seconds + 30)
        if found == 0:
            print(
                f"\ndec_jax/{module}.py:{mutant.start[0]}: {mutant.line}\n"
                f"  {mutant.old}  ->  {mutant.new}",
                flush=True,
            )
        print(".", end="", flush=True)
        yield mutant, found != 0
    print()
    checkout.write(module, source)


def survivors(name: str) -> set[tuple[str, ...]]:
    """Reads the faults that no test saw in a saved run."""
    rows = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    return {
        (row["module"], *(left[key] for key in ("line", "old", "new")))
        for row in rows
        for left in row["survived"]
    }


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    check_least(vars(options), limit=1, seed=0)
    equal, rows = equal_mutants(), []
    before = survivors(options.save) if options.again else set()
    with tempfile.TemporaryDirectory(prefix="dec_jax-") as folder:
        checkout = Checkout(Path(folder))
        for module in TESTS:
            if not any(name in module for name in options.modules):
                continue
            source = (ROOT / "dec_jax" / f"{module}.py").read_text()
            all_of_it = mutants_of(module, source)
            rng = np.random.default_rng(options.seed)
            order = sorted(rng.permutation(len(all_of_it))[: options.limit])
            chosen = [all_of_it[place] for place in order]
            tested = [
                it
                for it in chosen
                if it.identity not in equal
                and (not options.again or it.identity in before)
            ]
            left = [it for it, seen in measure(checkout, module, tested) if not seen]
            counted = [it for it in chosen if it.identity not in equal]
            rows.append(
                {
                    "module": module,
                    "possible": len(all_of_it),
                    "tried": len(chosen),
                    "equal": len(chosen) - len(counted),
                    "seen": len(counted) - len(left),
                    "score": round(1 - len(left) / max(1, len(counted)), 3),
                    "survived": [
                        {"line": it.line, "old": it.old, "new": it.new} for it in left
                    ],
                }
            )
            if options.save:
                save_rows(options.save, rows)
        checkout.server.kill()
    for row in rows:
        print(
            f"{row['module']:<24}{row['tried']:>5} faults of {row['possible']}, "
            f"{row['equal']} equal, {row['seen']} seen, score {row['score']:.1%}"
        )


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("mutation", __doc__, data=False, save=True)
    out.add_argument("--modules", metavar="NAME", nargs="+", default=[""])
    out.add_argument("--limit", metavar="N", type=int, default=50, help="of a module")
    out.add_argument("--seed", metavar="S", type=int, default=0)
    out.add_argument(
        "--again", action="store_true", help="those that survived in --save"
    )
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; --save kept whole modules.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
