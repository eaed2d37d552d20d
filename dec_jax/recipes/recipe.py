"""The settings of a run, the properties of data they depend on, and shared parts."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Float

from dec_jax.clustering.assignment import equidistant_centroids
from dec_jax.clustering.graph_sample import GRAPH_ROWS
from dec_jax.networks.architecture import Architecture, dense_architecture
from dec_jax.networks.autoencoder import Params, init_params
from dec_jax.networks.own import Network, change_network
from dec_jax.objectives import Objective
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.layerwise import LayerwiseConfig
from dec_jax.training.minibatches import even_batch_size, steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig
from dec_jax.training.state import TrainConfig
from dec_jax.validation import check_positive_int

WIDE_TABLE = 1_000_000  # values from which a table has the published widths


@dataclass(frozen=True)
class DataShape:
    """Properties of data that a recipe may depend on; labels are not among them.

    Attributes:
      n_samples: number of rows.
      input_dim: number of values in a row.
      image_shape: (height, width, channels), or None for a table.
      input_scale: factor of the inputs, such as 1/255 for bytes.
      name: name of the data set, for recipes with settings of their own for some sets.
      n_clusters: number of clusters k.

    Example:
      >>> DataShape(n_samples=150, input_dim=4, n_clusters=3).image_shape is None
      True
    """

    n_samples: int
    input_dim: int
    image_shape: tuple[int, int, int] | None = None
    input_scale: float = 1 / 255
    name: str = ""
    n_clusters: int = 10


def default_recipe(shape: DataShape) -> str:
    """Names the recipe for data of this shape: "best" for images, "auto" for other data.

    "best" starts from spectral clusters of the graph of nearest neighbors. It has the
    highest accuracy of all recipes on MNIST, USPS, Fashion-MNIST and COIL-20. On tables
    with categories that graph is wrong by far: distances between one-hot columns take few
    different values. "auto" asks many simple methods, and takes what they agree on.

    Args:
      shape: properties of the data.

    Returns:
      A name for `make_recipe`.

    Example:
      >>> default_recipe(DataShape(1797, 64, (8, 8, 1)))
      'best'
      >>> default_recipe(DataShape(1797, 64))
      'auto'
    """
    return "auto" if shape.image_shape is None else "best"


@dataclass(frozen=True)
class Recipe:
    """All settings of a run.

    Attributes:
      source: paper or code that the settings come from.
      architecture: the network.
      pretrain: settings of pretraining, end to end or layer by layer; None clusters the
        samples themselves, and needs a learner.
      n_init: restarts of k-means on z; the one of lowest inertia gives the centroids.
      objective: the clustering method.
      train: settings of clustering.
      start: labeling of z that clustering starts from: "k-means"; "spectral"
        (`spectral_clustering` of the neighbor graph); "umap" (`umap_mixture`); or "judge"
        (`choose_labels`, the best of many simple methods). With all but k-means, the first centroids are the means of the labeled clusters.
      graph_rows: largest number of rows in the graph of the start "spectral"; of more rows,
        the graph has a sample of this size (`clustering.graph_sample`).
      learner: network that replaces the pretrained one in clustering. Its weights are
        new, so it learns from the labels of `start` alone; it has no decoder, and its
        embedding is as wide as there are clusters (`clustering_start`).
      expected: one line on the result to expect, with its data and seeds.
      name: of the recipe, in the table that a run ends with.
    """

    source: str
    architecture: Network
    pretrain: PretrainConfig | LayerwiseConfig | None
    n_init: int
    objective: Objective
    train: TrainConfig
    start: str = "k-means"
    graph_rows: int = GRAPH_ROWS
    learner: Network | None = None
    expected: str = ""
    name: str = "clustering"

    def __post_init__(self) -> None:
        check_positive_int("graph_rows", self.graph_rows)

    @property
    def network(self) -> Network:
        """The network that assigns clusters in the end."""
        return self.architecture if self.learner is None else self.learner


def clustering_start(
    recipe: Recipe, key: jax.Array, params: Params, centroids: Float[Array, "k d"]
) -> tuple[Params, Float[Array, "k e"]]:
    """Returns the parameters and centroids that clustering starts from.

    Args:
      recipe: the settings.
      key: random key of the clustering phase.
      params, centroids: result of pretraining; centroids in the pretrained z.

    Returns:
      The given ones; for a recipe with a learner, new weights of the learner and
      equidistant centroids.

    Raises:
      ValueError: the learner is for another number of clusters.
    """
    if recipe.learner is None:
        return params, centroids
    if recipe.learner.embedding_dim != len(centroids):
        raise ValueError(
            f"The recipe has a network for {recipe.learner.embedding_dim} clusters, got "
            f"{len(centroids)} centroids; give DataShape the right n_clusters."
        )
    drawn = init_params(jax.random.fold_in(key, 3), recipe.learner)
    learner = {name: drawn[name] for name in drawn if name != "decoder"}
    return learner, equidistant_centroids(len(centroids))


def network_of(
    shape: DataShape, initializer: str, architecture: Network | None
) -> Network:
    """Returns `architecture` if it is given, else d-500-500-2000-10."""
    if architecture is not None:
        return change_network(architecture, input_scale=shape.input_scale)
    return dense_architecture(
        shape.input_dim, initializer=initializer, input_scale=shape.input_scale
    )


def sized_network(shape: DataShape) -> Architecture:
    """Makes the network d-500-500-2000-10, with narrower layers for small tables.

    A table of few values takes minutes in layers that were sized for MNIST, and finds no
    better clusters. The widths are halved for tables of fewer than 250,000 values, again
    below 62,500, and once more below 15,600. Images keep the published widths.
    """
    hidden: tuple[int, ...] = (500, 500, 2000)
    if shape.image_shape is None:
        values = shape.n_samples * shape.input_dim
        halvings = sum(values < WIDE_TABLE / 4**step for step in (1, 2, 3))
        hidden = tuple(width >> halvings for width in hidden)
    return dense_architecture(
        shape.input_dim, hidden=hidden, input_scale=shape.input_scale
    )


def light_augmentation(shape: DataShape) -> Augmentation:
    """Rotates by up to 10 degrees and shifts by up to 10 % of the side; images only."""
    if shape.image_shape is None:
        return Augmentation()
    return Augmentation(shape.image_shape, rotation=10, shift=0.1)


def strong_augmentation(shape: DataShape) -> Augmentation:
    """Rotates, shifts, scales and shears more than `light_augmentation`; images only."""
    if shape.image_shape is None:
        return Augmentation()
    return Augmentation(shape.image_shape, rotation=15, shift=0.1, scale=0.1, shear=10)


def laptop_pretraining(shape: DataShape) -> PretrainConfig:
    """Trains 50 epochs with Adam on augmented images, more epochs for small data."""
    batches = steps_per_epoch(shape.n_samples, 256)
    return PretrainConfig(
        # Small data need more passes for the same number of steps.
        epochs=max(50, -(-2000 // batches)),
        batch_size=even_batch_size(shape.n_samples),
        optimizer=Optimizer("adam", 2e-3, schedule="one-cycle"),
        augmentation=light_augmentation(shape),
        target="distorted",
    )
