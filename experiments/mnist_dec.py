"""Deep Embedded Clustering on MNIST, from raw pixels to clusters.

Xie, Girshick and Farhadi, `Unsupervised Deep Embedding for Clustering Analysis
<https://arxiv.org/abs/1511.06335>`_, ICML 2016. This is `dec-jax cluster`, with the data
set as an option:

    python -m experiments.mnist_dec                    # MNIST-70k, recipe `best`, seed 0
    python -m experiments.mnist_dec --recipe dec       # the paper's method, made short
    python -m experiments.mnist_dec --seeds 5          # seeds 0-4, mean, sd, min, max
    python -m experiments.mnist_dec --resume runs/mnist-best

experiments/README.md lists the results and the time of each recipe.
"""

import argparse
import sys

from dec_jax.cli import cluster
from dec_jax.runs.errors import exit_status

PROGRAM = "python -m experiments.mnist_dec"


def main(arguments: list[str]) -> int:
    """Runs the experiment; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=cluster.__doc__,
        epilog=cluster.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--dataset", metavar="DATA", help="data set, file or folder")
    cluster.add_run_options(parser)
    options = parser.parse_args(arguments)
    run = cluster.run
    return exit_status(lambda: run(options, program=PROGRAM), cluster.STOPPED_LINE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
