"""The command line, the clock and the rows that all benchmarks share."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from benchmarks import tables
from benchmarks.tables import Row
from dec_jax.parallel.hardware import device_name
from dec_jax.runs.errors import check_least, exit_status

QUICK = {"action": "store_true", "help": "two cases only"}
CASE_WIDTH = 60
State = TypeVar("State")
Value = TypeVar("Value")


class Column(NamedTuple):
    """A column that is printed, but not shown in README.md."""

    head: str
    key: str  # of the row
    spec: str  # of `format`


@dataclass(frozen=True)
class Benchmark:
    """A question of speed that a command answers with a table.

    Attributes:
      name: the module's name in this package.
      question: the module's docstring, which `--help` shows.
      rows: measures one row after another with the options of the command line.
      rounds: default of `--rounds`.
      options: further options, each with the arguments of `add_argument`.
      columns: printed next to the columns of README.md.
      prepare: checks and completes the options before jax looks for devices; raises
        UsageError.
      remark: text at the end of a printed row.
    """

    name: str
    question: str | None
    rows: Callable[[argparse.Namespace], Iterable[Row]]
    rounds: int
    options: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    columns: Sequence[Column] = ()
    prepare: Callable[[argparse.Namespace], None] = lambda options: None
    remark: Callable[[Row], str] = lambda row: ""

    def main(self) -> None:
        """Runs with the options of the command line, and exits."""
        sys.exit(exit_status(self.run, "Stopped; nothing was saved."))

    def run(self, arguments: Sequence[str] | None = None) -> None:
        """Measures, prints a line for each row, and saves the rows if asked to.

        Args:
          arguments: of the command; those of the process if not given.

        Raises:
          UsageError: options that cannot be measured.
        """
        options = self.parser().parse_args(arguments)
        check_least(vars(options), rounds=1)
        self.prepare(options)
        print(f"{self.name} on {device_name()}, jax {jax.__version__}")
        heads = [column.head for column in self.columns]
        print(self._line([*tables.HEADS, *heads]))
        rows = []
        for row in self.rows(options):
            rows.append(row)
            more = [_cell(row.get(one.key), one.spec) for one in self.columns]
            line = self._line([*tables.cells(row), *more])
            print(f"{line}  {self.remark(row)}".rstrip(), flush=True)
        if options.save:
            # A folder says nothing to readers on another machine.
            told = {key: v for key, v in vars(options).items() if key != "folder"}
            tables.save(self.name, rows, told)

    def parser(self) -> argparse.ArgumentParser:
        """The options of the command."""
        out = argparse.ArgumentParser(
            prog=f"python -m benchmarks.{self.name}",
            description=self.question,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        rounds = {"default": self.rounds, "help": "alternating rounds"}
        save = {
            "action": "store_true",
            "help": "write benchmarks/results and README.md",
        }
        shared: dict[str, dict[str, Any]] = {"--rounds": rounds, "--save": save}
        for flag, given in (shared | dict(self.options)).items():
            told = dict(given)
            default = told.get("default")
            if default is not None:
                # A number of the default says what all are.
                first = default[0] if isinstance(default, list) else default
                told.setdefault("type", type(first))
                words = default if isinstance(default, list) else [default]
                shown = f"(default {' '.join(map(str, words))})"
                told["help"] = f"{told.get('help', '')} {shown}".lstrip()
            if not {"action", "choices"} & set(told):
                told.setdefault("metavar", "N" if told.get("type") is int else "NAME")
            out.add_argument(flag, **told)
        return out

    def _line(self, texts: Sequence[str]) -> str:
        case, unit, *numbers = texts
        heads = [*tables.HEADS[2:], *(column.head for column in self.columns)]
        line = f"{case:<{CASE_WIDTH}} {unit:<9}"
        for text, head in zip(numbers, heads, strict=True):
            line += f"{text or '-':>{max(8, len(head)) + 2}}"
        return line


def _cell(value: Any, spec: str) -> str:
    return "" if value is None else format(value, spec)


def new_row(
    case: str,
    unit: str,
    ours: float,
    peer: float | None = None,
    *,
    ratio: float | None = None,
    limit_fraction: float | None = None,
    **more: Any,
) -> Row:
    """Makes a row of a table and of a result file.

    Args:
      case: the setting that was measured.
      unit: of `ours` and `peer`. Less is better of "s" and "ms", more of "samples/s".
      ours: the value of this library.
      peer: the value that it is compared with.
      ratio: times as fast as the peer; by default the quotient of the two in one of
        those units, and None in any other.
      limit_fraction: share of the speed that the device could reach.
      **more: further values.
    """
    if ratio is None and peer is not None:
        if unit in ("s", "ms"):
            ratio = peer / ours
        elif unit == "samples/s":
            ratio = ours / peer
    shared = {"case": case, "ours": ours, "peer": peer, "ratio": ratio}
    return {**shared, "limit_fraction": limit_fraction, "unit": unit, **more}


def timed(program: Callable[[], Value]) -> tuple[float, Value]:
    """Seconds of one call, and its value, once all its arrays are computed."""
    start = time.perf_counter()
    value = jax.block_until_ready(program())
    return time.perf_counter() - start, value


def in_turns(
    programs: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each program in each round.

    The programs alternate, so that other work on the machine slows all of them alike.

    Args:
      programs: compiled before.
      rounds: calls of each program.
    """
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            seconds[name].append(timed(program)[0])
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each program's seconds."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the ratios of each round, whose parts are neighbors in time."""
    return statistics.median(
        a / b for a, b in zip(numerators, denominators, strict=True)
    )


def continued(
    step: Callable[[State], tuple[State, Any]], state: State
) -> Callable[[], float]:
    """A program that starts where its last call ended, and returns the last loss.

    Args:
      step: maps a state to the next one and the losses, an array or in its field `loss`.
      state: of the first call.
    """

    def program() -> float:
        nonlocal state
        # All of it: on a CPU, collectives that nobody waits for can block one another.
        state, losses = jax.block_until_ready(step(state))
        return float(np.ravel(getattr(losses, "loss", losses))[-1])

    return program


def recorded(program: Callable[[], Value], values: list[Value]) -> Callable[[], object]:
    """The program with its values appended to a list."""
    return lambda: values.append(program())


def planned_bytes(compiled: Any) -> int:
    """Bytes that a compiled program holds on a device: arguments, results, temporaries."""
    memory = compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
