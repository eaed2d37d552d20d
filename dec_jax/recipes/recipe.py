"""What a recipe is, what it may look at, and what several of them share."""

from dataclasses import dataclass, replace

import jax
from jaxtyping import Array, Float

from dec_jax.clustering.assignment import equidistant_centroids
from dec_jax.networks.architecture import Architecture, dense_architecture
from dec_jax.networks.autoencoder import Params, init_params
from dec_jax.objectives import Objective
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.layerwise import LayerwiseConfig
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig
from dec_jax.training.state import TrainConfig


@dataclass(frozen=True)
class DataShape:
    """What a recipe may look at.

    Attributes:
      n_samples: rows.
      input_dim: values in a row.
      image_shape: (height, width, channels), or None for a table.
      input_scale: what integer inputs are multiplied by.
      name: of the data set, for recipes that publish other settings for some.
      architecture: a network to take instead of the recipe's own, or None.
      n_clusters: to be found.
    """

    n_samples: int
    input_dim: int
    image_shape: tuple[int, int, int] | None = None
    input_scale: float = 1 / 255
    name: str = ""
    architecture: Architecture | None = None
    n_clusters: int = 10


@dataclass(frozen=True)
class Recipe:
    """All settings of a run.

    Attributes:
      source: where the settings come from.
      expected: what it reaches, on which data, over which seeds.
      architecture: the network.
      pretrain: the settings of pretraining, end to end or layer by layer.
      n_init: restarts of k-means on z; the best by inertia gives the centroids.
      objective: the clustering method.
      train: the settings of clustering.
      learner: a network that is clustered with in place of the pretrained one. It
        starts from nothing but the labels of `start`, has no decoder, and its embedding
        is as wide as there are clusters (`clustering_start`).
      start: the labeling of z that clustering starts from: "k-means"; "spectral",
        `manifold.spectral_clustering`; or "umap", `umap_mixture`. The means of the
        latter two are the first centroids, but for a learner.
    """

    source: str
    expected: str
    architecture: Architecture
    pretrain: PretrainConfig | LayerwiseConfig
    n_init: int
    objective: Objective
    train: TrainConfig
    start: str = "k-means"
    learner: Architecture | None = None

    @property
    def network(self) -> Architecture:
        """The network that clusters in the end."""
        return self.architecture if self.learner is None else self.learner


def clustering_start(
    recipe: Recipe, key: jax.Array, params: Params, centroids: Float[Array, "k d"]
) -> tuple[Params, Float[Array, "k e"]]:
    """Parameters and centroids that the clustering phase of a recipe starts from.

    Args:
      recipe: the settings.
      key: of the phase.
      params, centroids: after pretraining, in the pretrained z.

    Returns:
      Those given; of a recipe with a learner those of one that has learned nothing.

    Raises:
      ValueError: the learner is for another number of clusters.
    """
    if recipe.learner is None:
        return params, centroids
    if recipe.learner.embedding_dim != len(centroids):
        raise ValueError(
            f"The recipe has a network for {recipe.learner.embedding_dim} clusters, and "
            f"there are {len(centroids)}; give DataShape the right n_clusters."
        )
    drawn = init_params(jax.random.fold_in(key, 3), recipe.learner)
    learner = {name: drawn[name] for name in drawn if name != "decoder"}
    return learner, equidistant_centroids(len(centroids))


def network_of(shape: DataShape, initializer: str) -> Architecture:
    """d-500-500-2000-10 for the data at hand, or what was given instead."""
    if shape.architecture is not None:
        return replace(shape.architecture, input_scale=shape.input_scale)
    return dense_architecture(
        shape.input_dim, initializer=initializer, input_scale=shape.input_scale
    )


def light_augmentation(shape: DataShape) -> Augmentation:
    """Images that are moved a little; tables as they are."""
    if shape.image_shape is None:
        return Augmentation()
    return Augmentation(shape.image_shape, rotation=10, shift=0.1)


def strong_augmentation(shape: DataShape) -> Augmentation:
    """Images that are moved, turned, slanted and scaled; tables as they are."""
    if shape.image_shape is None:
        return Augmentation()
    return Augmentation(shape.image_shape, rotation=15, shift=0.1, scale=0.1, shear=10)


def laptop_pretraining(shape: DataShape) -> PretrainConfig:
    """Fifty epochs of Adam on moved images; more for small data."""
    batches = steps_per_epoch(shape.n_samples, 256)
    return PretrainConfig(
        # Small data need more passes for the same number of steps.
        epochs=max(50, -(-2000 // batches)),
        optimizer=Optimizer("adam", 2e-3, schedule="one-cycle"),
        augmentation=light_augmentation(shape),
        target="distorted",
    )
