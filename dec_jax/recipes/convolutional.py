"""The recipes with convolutional networks."""

from dataclasses import replace

from dec_jax.networks.architecture import Architecture, Conv2D, Dense
from dec_jax.networks.architecture_json import load_architecture
from dec_jax.networks.own import Network, change_network
from dec_jax.objectives import DCN, DEC, IDEC, Objective
from dec_jax.recipes.recipe import DataShape, Recipe, light_augmentation
from dec_jax.training.augmentation import Augmentation
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig
from dec_jax.training.state import TrainConfig


def kld_conv(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Convolutional autoencoder, KL(P || Q) and reconstruction (Aljalbout et al., 2018)."""
    return _aljalbout(shape, architecture, IDEC(clustering_weight=1.0))


def kmeans_conv(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Convolutional autoencoder, k-means and reconstruction (Aljalbout et al., 2018).

    The published method does not square distances and keeps its centroids fixed. Here
    distances are squared, which has a gradient everywhere, and centroids are updated by
    counts (DCN). The pretraining is that of `kld_conv`; clustering sees original images.
    """
    recipe = _aljalbout(shape, architecture, DCN())
    # With augmented images, or ten times this rate, clusters of COIL-20 become empty.
    settings = replace(
        recipe.train, augmentation=Augmentation(), optimizer=Optimizer("adam", 1e-4)
    )
    return replace(recipe, train=settings)


def dec_da_conv(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """DEC with data augmentation, ConvDEC-DA of Guo et al. (ACML 2018), in full.

    The autoencoder reconstructs augmented images for 500 epochs of Adam. DEC follows,
    with q of augmented and p of original images. Images may have any size and number of
    channels; tables raise ValueError.
    """
    if shape.image_shape is None:
        raise ValueError(
            "The recipe dec-da-conv needs images, got a table; use dec-da."
        )
    few = shape.n_samples <= 20_000
    network = architecture or dec_da_network(shape.image_shape)
    return Recipe(
        source="Guo, Zhu, Liu and Yin (2018), github.com/XifengGuo/DEC-DA, ConvDEC-DA",
        architecture=change_network(network, input_scale=shape.input_scale),
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
            # At most 20,000 iterations, in whole intervals.
            max_intervals=667 if few else 143,
            optimizer=Optimizer("adam", 1e-3),
            augmentation=light_augmentation(shape),
        ),
    )


def dec_da_network(image_shape: tuple[int, int, int]) -> Architecture:
    """Makes the convolutional network of DCEC and ConvDEC-DA: strides, no pooling.

    It has 32 and 64 filters of 5 x 5, 128 of 3 x 3, each with strides of 2, and an
    embedding of 10. As published, the third layer has no padding if a side is not a
    multiple of 8 (28 becomes 14, 7 and 3). It is padded if both sides are, or if its
    filters of 3 x 3 would not fit.

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
    """Makes a small convolutional network with one output for each cluster.

    It has 32 and then 64 filters of 5 x 5 with strides of 2, and 512 units. For images
    larger than 32 pixels the first filters and strides grow with the image, so that the
    later layers cost the same.

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


def _aljalbout(
    shape: DataShape, architecture: Network | None, objective: Objective
) -> Recipe:
    """Makes what `kld_conv` and `kmeans_conv` share: network, pretraining and schedule.

    COIL-20 has the published network. The published network for MNIST has batch
    normalization and an embedding of 120, in which k-means finds the digits less well
    than in one of 10 after a wide layer without it; hence `mnist-conv-deep`. The schedule
    is shorter than the published one, and images are augmented, as in `dec`.
    """
    network = architecture
    if network is None:
        names = {(28, 28, 1): "mnist-conv-deep", (128, 128, 1): "coil20-conv"}
        if shape.image_shape not in names:
            raise ValueError(
                "The convolutional recipes have networks for gray images of 28 x 28 and "
                f"of 128 x 128 pixels, got image_shape {shape.image_shape}; give an "
                "architecture (--architecture)."
            )
        network = load_architecture(names[shape.image_shape])
    batch_size = 128 if shape.n_samples > 20_000 else 32
    batches = steps_per_epoch(shape.n_samples, batch_size)
    return Recipe(
        source="Aljalbout, Golkov, Siddiqui and Cremers (2018)",
        architecture=change_network(network, input_scale=shape.input_scale),
        pretrain=PretrainConfig(
            # 90 epochs for COIL-20: after half of them the loss is a third higher.
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
            # No early stop: the cosine schedule ends with small steps that must be taken.
            tolerance=0,
            optimizer=Optimizer("adam", 1e-3, schedule="cosine"),
            augmentation=light_augmentation(shape),
        ),
    )
