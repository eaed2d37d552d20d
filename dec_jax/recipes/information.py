"""The recipes that maximize mutual information, and start from a new network."""

from dataclasses import replace

from dec_jax.networks.architecture import Architecture, dense_architecture
from dec_jax.networks.own import Network, change_network
from dec_jax.objectives import IIC, IMSAT, Objective
from dec_jax.recipes.convolutional import learner_network
from dec_jax.recipes.recipe import (
    DataShape,
    Recipe,
    laptop_pretraining,
    light_augmentation,
)
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.state import TrainConfig


def imsat(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """IMSAT (Hu et al., ICML 2017): information maximization, from nothing.

    Network, weights, batches and optimizer are the published ones: d-1200-1200-k with batch
    normalization, lambda 0.1, mu 4, batches of 250, Adam 0.002, 50 epochs, more for small
    data. Two things differ: the length of the adversarial step comes from the nearest
    neighbor in the batch, and images are also augmented lightly, where the paper takes
    either adversarial or augmented samples. An architecture that is given is pretrained as
    in `dec`, and its encoder is trained from k-means on z.
    """
    number, interval = _intervals(shape, 250, epochs=50, least_steps=2000)
    network = dense_architecture(
        shape.input_dim, hidden=(1200, 1200), embedding_dim=shape.n_clusters
    )
    train = TrainConfig(
        update_interval=interval,
        max_intervals=number,
        batch_size=250,
        tolerance=0,
        optimizer=Optimizer("adam", 2e-3),
        augmentation=light_augmentation(shape),
    )
    source = (
        "Hu, Miyato, Tokui, Matsumoto and Sugiyama (2017), github.com/weihua916/imsat"
    )
    learner = replace(network, batch_norm=True)
    return _from_nothing(shape, architecture, learner, IMSAT(), train, source)


def iic(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Invariant Information Clustering (Ji et al., ICCV 2019), from nothing; images only.

    A small convolutional network with batch normalization and a single head takes the place
    of the published one of five heads, and of five more with 50 clusters. Images are
    rotated by up to 25 degrees, as published, shifted and scaled in place of crops. Adam
    trains for 30 epochs, or 6,000 steps if these are more; the published code takes 3,200
    epochs. An architecture that is given is pretrained as in `dec`, and its encoder is
    trained from k-means on z.
    """
    if shape.image_shape is None:
        raise ValueError("The recipe iic needs images, got a table; use imsat.")
    number, interval = _intervals(shape, 256, epochs=30, least_steps=6000)
    train = TrainConfig(
        update_interval=interval,
        max_intervals=number,
        tolerance=0,
        optimizer=Optimizer("adam", 1e-3, schedule="cosine"),
        augmentation=Augmentation(
            shape.image_shape, rotation=25, shift=0.1, scale=0.2, shear=0
        ),
    )
    source = "Ji, Henriques and Vedaldi (2019), github.com/xu-ji/IIC"
    network = learner_network(shape.image_shape, shape.n_clusters)
    learner = replace(network, batch_norm=True)
    return _from_nothing(shape, architecture, learner, IIC(), train, source)


def _intervals(
    shape: DataShape, batch_size: int, *, epochs: int, least_steps: int
) -> tuple[int, int]:
    """Computes number and steps of intervals of whole epochs, of 100 steps or more each."""
    batches = steps_per_epoch(shape.n_samples, batch_size)
    interval = -(-100 // batches) * batches
    steps = max(epochs * batches, least_steps)
    return -(-steps // interval), interval


def _from_nothing(
    shape: DataShape,
    architecture: Network | None,
    learner: Architecture,
    objective: Objective,
    train: TrainConfig,
    source: str,
) -> Recipe:
    """Makes a recipe of a new network, or of a given one that is pretrained."""
    scale = shape.input_scale
    recipe = Recipe(
        source=source,
        architecture=change_network(architecture or learner, input_scale=scale),
        pretrain=laptop_pretraining(shape),
        n_init=20,
        objective=objective,
        train=train,
    )
    if architecture is not None:
        return recipe
    return replace(recipe, pretrain=None, n_init=3, learner=recipe.architecture)
