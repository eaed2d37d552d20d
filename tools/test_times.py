"""Writes the slowest tests of a JUnit report into tests/README.md; see `make test-times`."""

import sys
import xml.etree.ElementTree as xml
from pathlib import Path

README = Path(__file__).parents[1] / "tests" / "README.md"
BEGIN, END = "<!-- slowest: begin -->\n", "<!-- slowest: end -->\n"
ROWS = 40


def table(report: Path) -> str:
    """Makes a table of the slowest tests, set-up and tear-down included."""
    cases = list(xml.parse(report).iter("testcase"))
    seconds = [float(case.attrib["time"]) for case in cases]
    order = sorted(range(len(cases)), key=lambda index: -seconds[index])[:ROWS]
    lines = [
        f"{len(cases):,} tests, {sum(seconds):.0f} seconds of all workers.",
        "",
        "| seconds | file | test |",
        "| ---: | --- | --- |",
    ]
    for index in order:
        file = cases[index].attrib["classname"].replace(".", "/").removeprefix("tests/")
        name = cases[index].attrib["name"].replace("|", "\\|")
        lines.append(f"| {seconds[index]:.1f} | `{file}` | `{name}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    page = README.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(f"{before}{BEGIN}{table(Path(sys.argv[1]))}{END}{after}")
