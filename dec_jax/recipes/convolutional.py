"""The recipes with convolutional networks."""

from dataclasses import replace

from dec_jax.networks.architecture import Architecture, Conv2D, Dense
from dec_jax.networks.architecture_json import load_architecture
from dec_jax.objectives import DCN, DEC, IDEC, Objective
from dec_jax.recipes.recipe import DataShape, Recipe, light_augmentation
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig
from dec_jax.training.state import TrainConfig


def kld_conv(shape: DataShape) -> Recipe:
    """Convolutional autoencoder, KL(P || Q) and reconstruction (Aljalbout et al., 2018)."""
    return _aljalbout(
        shape,
        IDEC(clustering_weight=1.0),
        "MNIST: ACC 0.859, NMI 0.825; COIL-20: 0.762, 0.848, as published",
    )


def kmeans_conv(shape: DataShape) -> Recipe:
    """Convolutional autoencoder, k-means and reconstruction (Aljalbout et al., 2018).

    The published distance is not squared and its centroids never move; here they are
    squared and moved by counts (DCN), which has a gradient everywhere. Pretrained as
    `kld_conv`; clustering sees images as they are.
    """
    recipe = _aljalbout(
        shape,
        DCN(),
        "MNIST: ACC 0.781, NMI 0.796; COIL-20: 0.745, 0.846, as published",
    )
    # Of moved images, or with ten times this rate, clusters of COIL-20 die.
    settings = replace(
        recipe.train, augmentation=Augmentation(), optimizer=Optimizer("adam", 1e-4)
    )
    return replace(recipe, train=settings)


def dec_da_conv(shape: DataShape) -> Recipe:
    """DEC with data augmentation, ConvDEC-DA of Guo et al. (ACML 2018), in full.

    500 epochs of Adam on moved images that are to be given back as they were moved;
    then DEC, with q from moved and p from unmoved images. Images of any size and number
    of channels; a table has no convolutions.
    """
    if shape.image_shape is None:
        raise ValueError(
            "The recipe dec-da-conv needs images, got a table; take dec-da."
        )
    few = shape.n_samples <= 20_000
    network = shape.architecture
    if network is None:
        network = dec_da_network(shape.image_shape)
    return Recipe(
        source="Guo, Zhu, Liu and Yin (2018), github.com/XifengGuo/DEC-DA, ConvDEC-DA",
        expected="MNIST-70k: ACC 0.985, NMI 0.960, as published",
        architecture=replace(network, input_scale=shape.input_scale),
        pretrain=PretrainConfig(
            epochs=500,
            optimizer=Optimizer("adam", 1e-3),
            augmentation=light_augmentation(shape),
            target="distorted",
        ),
        n_init=20,
        objective=DEC(),
        train=TrainConfig(
            update_interval=30 if few else 140,
            # 20,000 iterations at most, in whole intervals.
            max_intervals=667 if few else 143,
            optimizer=Optimizer("adam", 1e-3),
            augmentation=light_augmentation(shape),
        ),
    )


def dec_da_network(image_shape: tuple[int, int, int]) -> Architecture:
    """The convolutional autoencoder of DCEC and ConvDEC-DA: strides, and no pools.

    32 and 64 filters of 5 x 5, 128 of 3 x 3, each with strides of 2, and an embedding of
    10. As published, the third has no zeros around its image where the sides are no
    multiples of 8 (28 to 14, 7 and 3); it has where they are, and where its 3 x 3 would
    not fit.

    Args:
      image_shape: (height, width, channels), of any size.

    Returns:
      The architecture.
    """
    sides = image_shape[:2]
    # Two strides of 2, each rounded up, leave a quarter.
    fits = all(-(-side // 4) >= 3 for side in sides)
    ragged = any(side % 8 for side in sides)
    two = (2, 2)
    layers = (
        Conv2D(32, (5, 5), strides=two, padding="same"),
        Conv2D(64, (5, 5), strides=two, padding="same"),
        Conv2D(
            128, (3, 3), strides=two, padding="valid" if ragged and fits else "same"
        ),
        Dense(10, "linear"),
    )
    return Architecture(image_shape, layers)


def learner_network(image_shape: tuple[int, int, int], n_clusters: int) -> Architecture:
    """A small convolutional network with as many outputs as clusters.

    Filters of 5 x 5 with strides of 2, 32 and then 64, and 512 units. Where images are
    larger than 32 pixels, the first filters and strides grow with them, so that what
    comes after costs the same.

    Args:
      image_shape: (height, width, channels), of any size.
      n_clusters: width of the embedding.

    Returns:
      The architecture.
    """
    step = 2 * -(-max(image_shape[:2]) // 32)
    layers = (
        Conv2D(32, (2 * step + 1,) * 2, strides=(step, step), padding="same"),
        Conv2D(64, (5, 5), strides=(2, 2), padding="same"),
        Dense(512),
        Dense(n_clusters, "linear"),
    )
    return Architecture(image_shape, layers)


def _aljalbout(shape: DataShape, objective: Objective, expected: str) -> Recipe:
    """What both recipes share: the network from its file, and the schedule.

    For COIL-20 the published network. That for MNIST has batch normalization and an
    embedding of 120, in which k-means finds the digits less well than in one of 10
    behind a wide layer and without it: hence `mnist-conv-deep`. The schedule is shorter
    than the published one, and images are moved, as in `dec`.
    """
    network = shape.architecture
    if network is None:
        names = {(28, 28, 1): "mnist-conv-deep", (128, 128, 1): "coil20-conv"}
        if shape.image_shape not in names:
            raise ValueError(
                "The convolutional recipes have networks for gray images of 28 x 28 and "
                f"of 128 x 128 pixels, got image_shape {shape.image_shape}; give an "
                "architecture."
            )
        network = load_architecture(names[shape.image_shape])
    batch_size = 128 if shape.n_samples > 20_000 else 32
    batches = steps_per_epoch(shape.n_samples, batch_size)
    return Recipe(
        source="Aljalbout, Golkov, Siddiqui and Cremers (2018)",
        expected=expected,
        architecture=replace(network, input_scale=shape.input_scale),
        pretrain=PretrainConfig(
            # COIL-20: 90 epochs. Half of them left the loss a third higher.
            epochs=max(15, -(-4050 // batches)),
            batch_size=batch_size,
            optimizer=Optimizer("adam", 1e-3, schedule="one-cycle"),
            augmentation=light_augmentation(shape),
            target="distorted",
        ),
        n_init=20,
        objective=objective,
        train=TrainConfig(
            update_interval=batches,
            max_intervals=20,
            batch_size=batch_size,
            # The last steps are small ones, and are to be taken.
            tolerance=0,
            optimizer=Optimizer("adam", 1e-3, schedule="cosine"),
            augmentation=light_augmentation(shape),
        ),
    )
