"""Trees of clusters: DeepECT, and what any labels get.

    python -m benchmarks.deepect usps mnist --seeds 5 --save deepect

Pretrains an autoencoder as `dec` does. `bisecting` is the tree that 2-means grows on its z
(DeepECT without training), `deepect` trains as published, `deepect-aug` with distorted
copies (images only), and `merged` are as many clusters by k-means on z, merged by their
neighbor graph (`cluster_hierarchy`). DP is the dendrogram purity, LP the purity of the
leaves, ACC that of the tree cut at the number of classes. The classes only score.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.quality import datasets, new_parser, save_rows
from dec_jax.clustering.hierarchy import Hierarchy, cluster_hierarchy, cut_hierarchy
from dec_jax.clustering.kmeans import k_means
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.metrics import clustering_accuracy, purity
from dec_jax.evaluation.tree_purity import dendrogram_purity
from dec_jax.model.inference import Model, transform
from dec_jax.parallel.hardware import device_name
from dec_jax.runs.errors import exit_status
from dec_jax.runs.k_search import pretraining_of
from dec_jax.training.deepect import DeepECTConfig, deepect
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import pretrain_end_to_end

METHODS = ("bisecting", "merged", "deepect", "deepect-aug")


def scores(
    classes: np.ndarray, labels: np.ndarray, tree: Hierarchy
) -> dict[str, float]:
    """Computes DP, LP, and ACC of the cut at the number of classes, in %."""
    k = min(len(np.unique(classes)), len(tree.sizes))
    cut = cut_hierarchy(tree, k)[labels]
    return {
        "dp": 100 * dendrogram_purity(classes, labels, tree),
        "lp": 100 * purity(classes, labels),
        "acc": 100 * clustering_accuracy(classes, cut),
        "leaves": len(tree.sizes),
    }


def measure(
    dataset: Dataset, methods: list[str], seed: int, config: DeepECTConfig
) -> Iterator[dict[str, Any]]:
    """Grows the trees of one autoencoder, and scores them."""
    assert dataset.labels is not None
    pretrain_key, key = jax.random.split(jax.random.key(seed))
    network, pretraining = pretraining_of(dataset)
    params, _ = pretrain_end_to_end(
        pretrain_key, dataset.x, architecture=network, config=pretraining
    )
    for method in methods:
        began = time.perf_counter()
        if method == "merged":
            z = transform(Model(params, network), dataset)
            labels = np.asarray(k_means(key, z, config.n_leaves).labels)
            tree = cluster_hierarchy(z, labels, config.n_leaves)
        else:
            settings = config
            if method == "bisecting":
                settings = dataclasses.replace(
                    config,
                    n_steps=config.n_leaves,
                    split_every=1,
                    pruning_threshold=0,
                    # Next to nothing is learned between two splits.
                    optimizer=Optimizer("adam", 1e-12),
                )
            elif method == "deepect-aug":
                settings = dataclasses.replace(
                    config, augmentation=pretraining.augmentation
                )
            found = deepect(
                key, params, dataset.x, architecture=network, config=settings
            )
            labels, tree = found.labels, found.hierarchy
        yield {
            "dataset": dataset.name,
            "method": method,
            "seed": seed,
            "steps": config.n_steps,
            **scores(dataset.labels, labels, tree),
            "seconds": time.perf_counter() - began,
        }


def run(options: argparse.Namespace) -> None:
    """Measures, prints and saves."""
    print(f"trees on {device_name()}, in %", flush=True)
    # The tree grows in the first fifth of the steps, as in the published run.
    config = DeepECTConfig(
        n_steps=options.steps, split_every=max(1, options.steps // 100)
    )
    rows: list[dict[str, Any]] = []
    for dataset in datasets(options.datasets or ["digits"]):
        for seed in range(options.seed, options.seed + options.seeds):
            for row in measure(dataset, options.methods, seed, config):
                rows.append(row)
                print(
                    f"{row['dataset']:<14}{row['method']:<12} seed {seed}  DP "
                    f"{row['dp']:5.1f}  LP {row['lp']:5.1f}  ACC {row['acc']:5.1f}  "
                    f"{row['leaves']:>3} leaves  {row['seconds']:7.1f} s",
                    flush=True,
                )
                if options.save:
                    save_rows(options.save, rows)
            jax.clear_caches()


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    out = new_parser("deepect", __doc__, save=True)
    out.add_argument("--methods", metavar="NAME", nargs="+", default=list(METHODS))
    out.add_argument("--steps", metavar="N", type=int, default=DeepECTConfig.n_steps)
    out.add_argument("--seeds", metavar="N", type=int, default=5)
    out.add_argument("--seed", metavar="S", type=int, default=0)
    options = out.parse_args(arguments)
    return exit_status(lambda: run(options), "Stopped; what was saved is kept.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
