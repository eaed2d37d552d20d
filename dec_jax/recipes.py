"""Named, published settings: each with its source, what it should reach, and in what time.

A recipe is a function of what the data look like, never of their labels. Add one by
writing its function and naming it in `RECIPES`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dec_jax.architecture import Architecture, dense_architecture
from dec_jax.augment import Augmentation
from dec_jax.loop import steps_per_epoch
from dec_jax.objectives import DEC, Objective
from dec_jax.optimizer import Optimizer
from dec_jax.pretrain import PretrainConfig
from dec_jax.train import TrainConfig
from dec_jax.validation import check_choice


@dataclass(frozen=True)
class DataShape:
    """What a recipe may look at.

    Attributes:
      n_samples: rows.
      input_dim: values in a row.
      image_shape: (height, width, channels), or None for a table.
      input_scale: what integer inputs are multiplied by.
      name: of the data set, for recipes that publish other settings for some.
    """

    n_samples: int
    input_dim: int
    image_shape: tuple[int, int, int] | None = None
    input_scale: float = 1 / 255
    name: str = ""


@dataclass(frozen=True)
class Recipe:
    """All settings of a run.

    Attributes:
      source: where the settings come from.
      expected: what it reaches, on which data, over which seeds.
      architecture: the network.
      pretrain: the settings of pretraining.
      n_init: restarts of k-means on z; the best by inertia gives the centroids.
      objective: the clustering method.
      train: the settings of clustering.
    """

    source: str
    expected: str
    architecture: Architecture
    pretrain: PretrainConfig
    n_init: int
    objective: Objective
    train: TrainConfig


def dec(shape: DataShape) -> Recipe:
    """The paper's method with a pretraining short enough for a laptop.

    The network and the clustering phase are those of Xie et al. (2016). What differs
    is what the paper spends 300,000 iterations on: the autoencoder is trained end to
    end with Adam, and both phases see images that are moved a little (+-10 degrees,
    +-10 % of the side; Guo et al., DEC-DA, ACML 2018), while p always comes from the
    images as they are. A table has no directions to move in, and is left alone.
    """
    distortion = Augmentation()
    if shape.image_shape is not None:
        distortion = Augmentation(shape.image_shape, rotation=10, shift=0.1)
    batches = steps_per_epoch(shape.n_samples, 256)
    return Recipe(
        source="Xie, Girshick and Farhadi (2016); distortion of Guo et al. (2018)",
        expected="MNIST-70k: ACC 0.960, the mean of seeds 0-4 (0.937 to 0.977)",
        architecture=_network(shape, "glorot_uniform"),
        pretrain=PretrainConfig(
            # Small data need more passes for the same number of steps.
            epochs=max(50, -(-2000 // batches)),
            optimizer=Optimizer("adam", 2e-3, schedule="one-cycle"),
            augmentation=distortion,
            target="distorted",
        ),
        n_init=20,
        objective=DEC(),
        train=TrainConfig(
            update_interval=min(140, batches),
            max_intervals=50,
            optimizer=Optimizer("sgd", 0.01, schedule="cosine"),
            augmentation=distortion,
        ),
    )


def dec_keras(shape: DataShape) -> Recipe:
    """The settings of XifengGuo/DEC-keras, the implementation most papers compare with.

    End-to-end pretraining with SGD of learning rate 1 from U(+-1/sqrt(fan_in)); USPS
    has its own settings there. One difference: batches are shuffled here, and cycle in
    the order of the file there.
    """
    mnist_like = shape.n_samples > 20_000
    usps = shape.name == "usps"
    return Recipe(
        source="github.com/XifengGuo/DEC-keras, DEC.py",
        expected="MNIST-70k: ACC 0.912, its mean of 10 runs (0.830 to 0.964)",
        architecture=_network(shape, "glorot_uniform" if usps else "fan_in_uniform"),
        pretrain=PretrainConfig(
            epochs=300 if mnist_like else 50,
            optimizer=Optimizer("adam", 1e-3) if usps else Optimizer("sgd", 1.0),
        ),
        n_init=20,
        objective=DEC(),
        train=TrainConfig(
            update_interval=140 if mnist_like else 30,
            # 20,000 iterations at most, in whole intervals.
            max_intervals=143 if mnist_like else 667,
            optimizer=Optimizer("sgd", 0.01),
        ),
    )


def _network(shape: DataShape, initializer: str) -> Architecture:
    """d-500-500-2000-10, for the data at hand."""
    return dense_architecture(
        shape.input_dim, initializer=initializer, input_scale=shape.input_scale
    )


RECIPES: dict[str, Callable[[DataShape], Recipe]] = {"dec": dec, "dec-keras": dec_keras}


def make_recipe(name: str, shape: DataShape) -> Recipe:
    """The settings of a named recipe for data of this shape.

    Args:
      name: a key of `RECIPES`.
      shape: what the data look like.

    Returns:
      The settings; change them with `dataclasses.replace`.

    Raises:
      ValueError: no recipe of that name; the nearest one is named.
    """
    check_choice("recipe", name, RECIPES)
    return RECIPES[name](shape)
