"""Prints the table of `dec_jax.clustering.dip`: quantiles of the dip of uniform samples.

python -m benchmarks.dip_table                 # 10,000 samples of each size
"""

import argparse
import sys
import time

import numpy as np

from dec_jax.clustering.dip import LEVELS, SIZES, dip
from dec_jax.runs.errors import exit_status


def quantiles(n: int, draws: int, seed: int = 0) -> np.ndarray:
    """Computes the quantiles of the root of n times the dip of n uniform numbers."""
    rng = np.random.default_rng([seed, n])
    dips = [dip(rng.uniform(size=n)) for _ in range(draws)]
    return np.sqrt(n) * np.quantile(dips, LEVELS)


def run(options: argparse.Namespace) -> None:
    """Prints a line for each size."""
    for n in options.sizes:
        begin = time.perf_counter()
        found = ", ".join(f"{value:.4f}" for value in quantiles(n, options.draws))
        seconds = time.perf_counter() - begin
        print(f"    ({found}),  # {n:,}", flush=True)
        print(f"{n:,}: {seconds:.0f} s", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = argparse.ArgumentParser(
        prog="python -m benchmarks.dip_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument("--draws", metavar="N", type=int, default=10_000)
    out.add_argument("--sizes", metavar="N", nargs="+", type=int, default=list(SIZES))
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
