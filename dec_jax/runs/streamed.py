"""The phases of a run whose samples stay in their file, and the choice of such a run.

The recipes `dec`, `idec`, `dcn`, `kld-conv`, `kmeans-conv`, the `-da` ones and `best` run
so. Memory holds a block of samples, a label of each, and z and q as maps of scratch files.
"""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dec_jax import streaming
from dec_jax.clustering.graph_sample import blocks_of, nearest_centroids
from dec_jax.clustering.kmeans import KMeansResult
from dec_jax.data.dataset import Dataset
from dec_jax.evaluation.judge import MOST_ROWS, Choice
from dec_jax.networks.autoencoder import Params
from dec_jax.networks.own import Network
from dec_jax.recipes.recipe import Recipe, clustering_start
from dec_jax.runs.phases import Phases
from dec_jax.streaming import Source, stream_dataset
from dec_jax.streaming.read_ahead import scratch
from dec_jax.training.layerwise import StageState
from dec_jax.training.pretrain import PretrainConfig
from dec_jax.training.state import TrainResult, TrainState, reorder_clusters
from dec_jax.validation import expanded

# Bytes that a run in memory takes for each byte of the samples: the file's, the device's.
COPIES = 2
# Bytes that it takes for each sample and cluster, and for itself.
BYTES_OF_Q, BASE = 16, 1_500_000_000
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
MEMINFO = Path("/proc/meminfo")  # on Linux


class StreamedPhases(Phases):
    """The phases of a seed, on samples that are read as they are needed.

    Attributes:
      dataset: a `StreamedDataset`.
      x: its source.
    """

    dataset: streaming.StreamedDataset

    def baseline(self, restarts: int | None = None) -> None:
        """Leaves the comparison out: k-means on the samples needs them all."""

    def _pretrain(
        self, resumed: tuple[int, StageState] | None, on_epoch: Any
    ) -> Params:
        config = self.attempt.pretrain
        assert isinstance(config, PretrainConfig)  # by `check_streamed`
        return streaming.pretrain(
            self.pretrain_key,
            self.x,
            architecture=self.recipe.architecture,
            config=config,
            reading=self.dataset.stream,
            state=None if resumed is None else resumed[1].state,
            on_epoch=lambda state, row: on_epoch(0, StageState({}, state), row),
        )[0]

    def embed(self, params: Params, network: Network) -> np.ndarray:
        """Embeds all samples; z is the map of a scratch file."""
        return streaming.embed(
            params, self.x, architecture=network, reading=self.dataset.stream
        )

    def k_means(
        self, key: jax.Array, x: Any, title: str, *, n_init: int
    ) -> KMeansResult:
        """Runs k-means on all of z, or on a sample of as many rows as a graph has."""
        n, most = len(x), self.recipe.graph_rows
        if n <= most:
            return super().k_means(key, np.asarray(x), title, n_init=n_init)
        draw = jax.random.randint(jax.random.fold_in(key, n_init), (), 0, 2**31 - 1)
        rng = np.random.default_rng(int(draw))
        rows = np.sort(rng.choice(n, most, replace=False, shuffle=False))
        found = super().k_means(key, x[rows], title, n_init=n_init)
        return found._replace(
            labels=jnp.asarray(nearest_centroids(x.__getitem__, n, found.centroids))
        )

    def _means(self, z: Any, labels: jax.Array) -> jax.Array:
        if len(z) <= self.recipe.graph_rows:
            return super()._means(jnp.asarray(z), labels)
        of_row, k = np.asarray(labels), self.n_clusters
        sums, sizes = np.zeros((k, z.shape[1])), np.bincount(of_row, minlength=k)
        for rows in blocks_of(len(z)):
            np.add.at(sums, of_row[rows], z[rows])
        return jnp.asarray(sums / np.maximum(sizes, 1)[:, None], jnp.float32)

    def _first_state(self, params: Params, centroids: Any, labels: Any) -> TrainState:
        return streaming.init_state(
            self.train_key,
            *clustering_start(self.recipe, self.train_key, params, centroids),
            labels,
            objective=self.recipe.objective,
            config=self.recipe.train,
        )

    def _train(self, state: TrainState, on_interval: Any) -> TrainResult:
        return streaming.train(
            state,
            self.x,
            architecture=self.recipe.network,
            objective=self.recipe.objective,
            config=self.attempt.train,
            reading=self.dataset.stream,
            on_interval=on_interval,
        )

    def reordered(self, trained: TrainResult, order: np.ndarray) -> TrainResult:
        """Numbers the clusters anew; q is written anew, a block at a time."""
        q, k = trained.q, len(order)
        bare = replace(
            trained, q=q[:0], state=trained.state._replace(targets=jnp.zeros((0, k)))
        )
        made = (q[rows][:, order] for rows in blocks_of(len(q)))
        q = scratch(made, q.shape, self.dataset.stream).x
        return replace(reorder_clusters(bare, order), q=q)

    def _other_labels(self, space: Any) -> Choice:
        """Asks the simple methods about as many rows as they see, and no others."""
        n = len(space)
        rows = np.arange(n)
        if n > MOST_ROWS:
            rows = np.sort(np.random.default_rng(self.seed).permutation(n)[:MOST_ROWS])
        some = np.asarray(space[rows], np.float32)
        return self._choose_labels(some, self.seed)._replace(rows=rows)


def phases_of(dataset: Dataset) -> type[Phases]:
    """Returns the class of the phases for such data."""
    return StreamedPhases if is_streamed(dataset) else Phases


def is_streamed(dataset: Dataset) -> bool:
    """Returns True for samples that stay in their file."""
    return isinstance(dataset, streaming.StreamedDataset)


def check_streamed(dataset: Dataset, recipe: Recipe, mesh: Mesh | None) -> None:
    """Raises ValueError unless a recipe can do with samples that stay in their file."""
    if not is_streamed(dataset):
        return
    if mesh is not None:
        raise ValueError(
            f"devices must be 1 for samples that are read as they are needed, got "
            f"{mesh.size}; take one, or a larger memory."
        )
    whole = [
        (not isinstance(recipe.pretrain, PretrainConfig), "pretrains layer by layer"),
        (recipe.pretrain is None, "clusters the samples themselves"),
        (recipe.start not in ("k-means", "spectral"), f"starts from {recipe.start}"),
        (bool(recipe.objective.fitted), "fits a mixture to all samples"),
        (recipe.train.reseed_below > 0, "reseeds clusters"),
        (recipe.train.soft_reset is not None, "resets its network"),
    ]
    reasons = [reason for applies, reason in whole if applies]
    if reasons:
        raise ValueError(
            f"The recipe {recipe.name} needs all samples in memory, because it "
            f"{reasons[-1]}; take best (images), dec, idec or dcn, or a larger memory."
        )


def streamed_dataset(
    x: Any,
    n_clusters: int | None,
    memory: int | None,
    *,
    standardize: bool = True,
) -> streaming.StreamedDataset | None:
    """Makes a data set of a source, or of an .npy file that is too large for memory.

    Args:
      x: the samples, of any kind.
      n_clusters: number of clusters, or None if it is not known yet.
      memory: bytes that a run may take; None takes those that are free here.
      standardize: as in `stream_dataset`.

    Returns:
      The data set, whose note tells of the choice; None for all other samples.
    """
    if isinstance(x, Source):
        return stream_dataset(x, standardize=standardize)
    if not isinstance(x, str | os.PathLike):
        return None
    path = expanded(x)
    note = too_large(path, n_clusters or 10, memory)
    if note is None:
        return None
    source = streaming.NpySource(path)
    dataset = stream_dataset(source, name=path.stem, standardize=standardize)
    return replace(dataset, source=f"npy file {path}", notes=(note,))


def bytes_in_memory(shape: tuple[int, int], itemsize: int, n_clusters: int) -> int:
    """Estimates the memory of a run that holds all samples.

    Args:
      shape: (n, d) of the samples.
      itemsize: bytes of a value.
      n_clusters: number of clusters.

    Returns:
      Bytes.

    Example:
      >>> bytes_in_memory((70_000, 784), 1, 10)
      1620960000
    """
    n, d = shape
    return BASE + n * (COPIES * d * itemsize + BYTES_OF_Q * n_clusters)


def memory_here() -> int | None:
    """Returns the bytes of memory that are free here, or None where nothing tells."""
    if not MEMINFO.exists():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(), re.M)
    return None if found is None else int(found[1]) * 1024


def parse_bytes(text: str) -> int:
    """Reads a number of bytes such as "4G" or "500M".

    Raises:
      ValueError: it is not such a number, or is 0.

    Example:
      >>> parse_bytes("4G"), parse_bytes("1.5k")
      (4294967296, 1536)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.I)
    size = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if size < 1:
        raise ValueError(f"must be bytes such as 4G or 500M, got {text!r}")
    return size


def too_large(path: Path, n_clusters: int, memory: int | None) -> str | None:
    """Tells whether the samples of an .npy file are too many to hold.

    Args:
      path: the file; of all others, nothing is told.
      n_clusters: number of clusters.
      memory: bytes that may be used; None takes those that are free here.

    Returns:
      One line on that, or None.
    """
    limit = memory_here() if memory is None else memory
    if path.suffix.lower() != ".npy" or not path.is_file() or limit is None:
        return None
    try:
        source = streaming.NpySource(path)
    except (TypeError, ValueError):
        # Loading it tells why it cannot be used.
        return None
    needed = bytes_in_memory(source.shape, source.dtype.itemsize, n_clusters)
    if needed <= limit:
        return None
    return (
        f"samples are read from the file as they are needed: all of them would take about "
        f"{needed / 2**30:.3g} GiB, of {limit / 2**30:.3g} GiB"
    )
