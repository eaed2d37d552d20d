"""What benchmarks share; and README.md of what they measured: `python -m benchmarks.rows`."""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from dec_jax.runs import provenance

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE / "README.md"


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    out = argparse.ArgumentParser(description=description)
    text = f"how often all are measured in turn (default {rounds})"
    out.add_argument("--rounds", metavar="N", type=int, default=rounds, help=text)
    out.add_argument("--save", action="store_true", help="write benchmarks/results")
    return out


def in_turns(
    programs: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each program in each round; who is measured next to whom shares noise.

    Args:
      programs: compiled before, and ready when they return.
      rounds: how often.
    """
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def save(
    script: str, rows: list[dict[str, Any]], settings: Mapping[str, Any] | None = None
) -> None:
    """Writes the rows of a script with what they depend on, then the table.

    Args:
      script: its name.
      rows: what it measured.
      settings: the options that it ran with.
    """
    device = jax.devices()[0].device_kind.lower().replace(" ", "-")
    path = RESULTS / f"{script}-{device}.json"
    result = {
        "device": provenance.device(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "settings": None if settings is None else dict(settings),
        "rows": rows,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")
    README.write_text(with_tables(README.read_text()))


def table(kept: dict[str, Any]) -> str:
    """The rows of one script on one device."""
    where = [
        kept["device"],
        f"jax {kept['versions']['jax']}",
        f"commit {kept['commit'][:7]}",
    ]
    # What was kept before dates were has none.
    if kept.get("date"):
        where.append(kept["date"])
    lines = [
        ", ".join(where),
        "",
        "| case | unit | ours | peer | times as fast | share of the limit |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in kept["rows"]:
        limit = row["limit_fraction"]
        cells = [
            row["case"],
            row["unit"],
            *(_number(row[name]) for name in ("ours", "peer", "ratio")),
            "" if limit is None else f"{limit:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def with_tables(text: str) -> str:
    """The page with the tables of all that is kept; each script has its place in it."""
    parts = text.split("<!-- ")
    out = [parts[0]]
    for part in parts[1:]:
        name, rest = part.split(" -->", 1)
        script, _, end = name.partition(": ")
        if end == "begin":
            kept = [
                json.loads(path.read_text())
                for path in sorted(RESULTS.glob(f"{script}-*.json"))
            ]
            rest = "\n" + "\n\n".join(map(table, kept)) + "\n"
        out.append(f"{name} -->{rest}")
    return "<!-- ".join(out)


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
