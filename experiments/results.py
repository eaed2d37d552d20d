"""Keeps the numbers of a finished run, and makes the table of experiments/README.md.

python -m experiments.results runs/mnist-dec   # keeps a run of several seeds
python -m experiments.results                  # makes the table again
"""

import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEPT = HERE / "results"
README = HERE / "README.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def keep(run: Path) -> Path:
    """Copies a run's summary, and its picture of the latent space, into `results/`."""
    summary = json.loads((run / "summary.json").read_text())
    KEPT.mkdir(exist_ok=True)
    name = f"{summary['dataset']}-{summary['recipe']}"
    target = KEPT / f"{name}.json"
    target.write_text(json.dumps(summary, indent=1) + "\n")
    picture = run / f"seed-{summary['seeds'][0]}" / "latent.png"
    shutil.copyfile(picture, KEPT / f"{name}-latent.png")
    return target


def spread(values: list[float], scale: float = 100, digits: int = 1) -> str:
    """Mean, standard deviation, least and most, as one cell of the table."""
    if len(values) == 1:
        return f"{scale * values[0]:.{digits}f}"
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    low, high = min(values), max(values)
    numbers = [f"{scale * value:.{digits}f}" for value in (mean, sd, low, high)]
    return "{} ± {} ({} to {})".format(*numbers)


# What was published for the method on the data, ACC / NMI in percent, and where.
PUBLISHED = {
    "mnist-dec": "84.3 / 80.0 (Xie et al. 2016); 91.2 / 86.9 (DEC-keras)",
    "mnist-dec-paper": "84.3 / 80.0 (Xie et al. 2016)",
    "mnist-dec-keras": "91.2 / 86.9 (DEC-keras, mean of 10)",
    "mnist-idec": "88.1 / 86.7 (Guo et al. 2017)",
    "mnist-dcn": "83 / 81 (Yang et al. 2017)",
    "mnist-kld-conv": "85.9 / 82.5 (Aljalbout et al. 2018)",
    "mnist-kmeans-conv": "78.1 / 79.6 (Aljalbout et al. 2018)",
    "coil20-kld-conv": "76.2 / 84.8 (Aljalbout et al. 2018)",
    "coil20-kmeans-conv": "74.5 / 84.6 (Aljalbout et al. 2018)",
    "usps-dec": "76.3 / 78.7 (DEC-keras, mean of 10)",
    "fashion_mnist-dec": "61.8 / 65.1 (DEC-keras, mean of 10)",
}


def table() -> str:
    """One row a file of `results/`, in the order of their names."""
    lines = [
        "| data | recipe | published ACC / NMI % | seeds | ACC % | NMI % | ARI % | k-means on z, ACC % | minutes a seed | device |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for path in sorted(KEPT.glob("*.json")):
        kept: dict[str, Any] = json.loads(path.read_text())
        if "stages" not in kept:
            continue
        seeds = kept["seeds"]
        cells = [
            kept["dataset"],
            f"`{kept['recipe']}`",
            PUBLISHED.get(path.stem, ""),
            f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]} only",
            *(spread(kept[name]) for name in ("acc", "nmi", "ari")),
            spread(kept["stages"]["k-means on z"]["acc"]),
            spread(kept["seconds"], 1 / 60),
            f"{kept['device']}, jax {kept['versions']['jax']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Keeps the runs that are named, then writes the table."""
    for argument in arguments:
        print(f"kept {keep(Path(argument))}")
    before, rest = README.read_text().split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
