"""Result files, and the tables that README.md shows of them.

`python -m benchmarks.tables` writes the tables anew from the files in `results/`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from dec_jax.parallel.hardware import device_name
from dec_jax.runs import provenance

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE / "README.md"
Row = dict[str, Any]
# Heads of the columns that every table has.
HEADS = ("case", "unit", "ours", "peer", "times as fast", "share of the limit")


def cells(row: Row) -> list[str]:
    """Formats the columns that every table has; empty where a row has no value."""
    limit = row["limit_fraction"]
    return [
        row["case"],
        row["unit"],
        *(_number(row[name]) for name in ("ours", "peer", "ratio")),
        "" if limit is None else f"{limit:.0%}",
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def save(
    name: str, rows: Sequence[Row], settings: Mapping[str, Any] | None = None
) -> None:
    """Writes the rows of a benchmark and what they depend on, then README.md's tables.

    Args:
      name: the benchmark's name.
      rows: its measurements.
      settings: its options.
    """
    device = jax.devices()[0].device_kind.lower().replace(" ", "-")
    path = RESULTS / f"{name}-{device}.json"
    result = {
        "device": device_name(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "settings": None if settings is None else dict(settings),
        "rows": list(rows),
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")
    README.write_text(with_tables(README.read_text()))


def table(saved: dict[str, Any]) -> str:
    """Formats a result file as a Markdown table under a line on its origin."""
    origin = [
        saved["device"],
        f"jax {saved['versions']['jax']}",
        f"commit {saved['commit'][:7]}",
    ]
    # The oldest files have no date.
    if saved.get("date"):
        origin.append(saved["date"])
    lines = [", ".join(origin), "", f"| {' | '.join(HEADS)} |", "| --- " * 6 + "|"]
    lines += [f"| {' | '.join(cells(row))} |" for row in saved["rows"]]
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """Replaces the text between a benchmark's begin and end marks by its tables."""
    head, *parts = page.split("<!-- ")
    out = [head]
    for part in parts:
        mark, rest = part.split(" -->", 1)
        name, _, end = mark.partition(": ")
        if end == "begin":
            paths = sorted(RESULTS.glob(f"{name}-*.json"))
            tables = [table(json.loads(path.read_text())) for path in paths]
            rest = "\n" + "\n\n".join(tables) + "\n"
        out.append(f"{mark} -->{rest}")
    return "<!-- ".join(out)


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
