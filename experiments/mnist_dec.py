"""Deep Embedded Clustering on MNIST, from raw pixels to clusters.

Xie, Girshick and Farhadi, `Unsupervised Deep Embedding for Clustering Analysis
<https://arxiv.org/abs/1511.06335>`_, ICML 2016.

    python -m experiments.mnist_dec                    # MNIST-70k, recipe `dec`, seed 0
    python -m experiments.mnist_dec --seeds 5          # seeds 0-4, mean, sd, min, max
    python -m experiments.mnist_dec --recipe dec-keras # DEC-keras's settings, 300 epochs
    python -m experiments.mnist_dec --resume runs/mnist-dec

What each recipe reached, and in what time, stands in experiments/README.md.
"""

import sys

from dec_jax.cli.options import main
from dec_jax.runs.compile_cache import keep_programs

if __name__ == "__main__":
    keep_programs()
    sys.exit(main(sys.argv[1:], program="python -m experiments.mnist_dec"))
