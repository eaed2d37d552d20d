"""Named, published settings: each with its source, what it should reach, and in what time.

A recipe is a function of what the data look like, never of their labels. Add one by
writing its function and naming it in `RECIPES`.
"""

from collections.abc import Callable
from dataclasses import replace

from dec_jax.networks.architecture import Architecture
from dec_jax.objectives import DCN, DEC, IDEC
from dec_jax.objectives.reconstruction import MeanReconstruction
from dec_jax.objectives.vade import VaDE
from dec_jax.recipes.convolutional import (
    dec_da_conv,
    kld_conv,
    kmeans_conv,
    learner_network,
)
from dec_jax.recipes.recipe import (
    DataShape,
    Recipe,
    laptop_pretraining,
    light_augmentation,
    network_of,
    strong_augmentation,
)
from dec_jax.training.layerwise import LayerwiseConfig
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig
from dec_jax.training.state import TrainConfig
from dec_jax.validation import check_choice

# Images from which a network learns labels from nothing, rather than by heart.
FEWEST_TO_LEARN = 5_000

__all__ = ["RECIPES", "DataShape", "Recipe", "make_recipe"]


def dec(shape: DataShape) -> Recipe:
    """The paper's method with a pretraining short enough for a laptop.

    The network and the clustering phase are those of Xie et al. (2016). What differs
    is what the paper spends 300,000 iterations on: the autoencoder is trained end to
    end with Adam, and both phases see images that are moved a little (+-10 degrees,
    +-10 % of the side; Guo et al., DEC-DA, ACML 2018), while p always comes from the
    images as they are. A table has no directions to move in, and is left alone.
    """
    return Recipe(
        source="Xie, Girshick and Farhadi (2016); distortion of Guo et al. (2018)",
        expected="MNIST-70k: ACC 0.960, the mean of seeds 0-4 (0.937 to 0.977)",
        architecture=network_of(shape, "glorot_uniform"),
        pretrain=laptop_pretraining(shape),
        n_init=20,
        objective=DEC(),
        train=TrainConfig(
            update_interval=min(140, steps_per_epoch(shape.n_samples, 256)),
            max_intervals=50,
            optimizer=Optimizer("sgd", 0.01, schedule="cosine"),
            augmentation=light_augmentation(shape),
        ),
    )


def dec_paper(shape: DataShape) -> Recipe:
    """The paper's own schedule: greedy layer-wise denoising, then fine-tuning.

    50,000 iterations a layer and 100,000 for all layers, SGD divided by 10 every
    20,000. The paper's loss is half of the mean squared error, hence the learning rate
    0.05 for its 0.1. Left out of its solver: the first 1,000 iterations of growing
    momentum, and biases that learn twice as fast. MNIST is multiplied by 0.02 there, and
    bytes are here as well.
    """
    batches = steps_per_epoch(shape.n_samples, 256)
    optimizer = Optimizer("sgd", 0.05, schedule="step", decay_every=20_000)
    layer, finetune = (
        PretrainConfig(epochs=-(-steps // batches), optimizer=optimizer)
        for steps in (50_000, 100_000)
    )
    scaled = shape.input_scale if shape.input_scale == 1 else 0.02
    network = network_of(shape, "xie_normal")
    return Recipe(
        source="Xie, Girshick and Farhadi (2016), github.com/piiswrong/dec",
        expected="MNIST-70k: ACC 0.843, as published",
        architecture=replace(network, input_scale=scaled),
        pretrain=LayerwiseConfig(layer, finetune, corruption=0.2),
        n_init=20,
        objective=DEC(),
        train=TrainConfig(
            update_interval=160, max_intervals=125, optimizer=Optimizer("sgd", 0.01)
        ),
    )


def idec(shape: DataShape) -> Recipe:
    """Improved DEC (Guo et al., IJCAI 2017) after the pretraining of `dec`.

    The clustering phase is the published one: gamma 0.1, Adam 1e-3, and images as they
    are. Only the pretraining differs, which starts from the paper's weights there.
    """
    return replace(
        dec(shape),
        source="Guo, Gao, Liu and Yin (2017), github.com/XifengGuo/IDEC",
        expected="MNIST-70k: ACC 0.881, as published",
        objective=IDEC(),
        train=TrainConfig(
            update_interval=min(140, steps_per_epoch(shape.n_samples, 256)),
            optimizer=Optimizer("adam", 1e-3),
        ),
    )


def dcn(shape: DataShape) -> Recipe:
    """Deep Clustering Network (Yang et al., ICML 2017) after the pretraining of `dec`.

    The weight of the clustering loss is of ours: of 6e-5 (the published one), 0.001,
    0.01, 0.03 and 0.1, that which was best on MNIST, seed 0, after ten epochs.
    """
    batches = steps_per_epoch(shape.n_samples, 256)
    return replace(
        dec(shape),
        source="Yang, Fu, Sidiropoulos and Hong (2017)",
        expected="MNIST-70k: ACC 0.83, as published",
        objective=DCN(),
        train=TrainConfig(
            update_interval=batches, max_intervals=50, optimizer=Optimizer("adam", 1e-4)
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
        architecture=network_of(shape, "glorot_uniform" if usps else "fan_in_uniform"),
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


def dec_da(shape: DataShape) -> Recipe:
    """DEC with data augmentation, FcDEC-DA of Guo et al. (ACML 2018), in full.

    500 epochs of SGD with learning rate 1 on moved images that are to be given back as
    they were moved; then DEC, with q from moved and p from unmoved images. `dec` is
    this with a tenth of the pretraining.
    """
    few = shape.n_samples <= 20_000
    return replace(
        dec(shape),
        source="Guo, Zhu, Liu and Yin (2018), github.com/XifengGuo/DEC-DA, FcDEC-DA",
        expected="MNIST-70k: ACC 0.983, the mean of seeds 0-4 (0.982 to 0.983), in bfloat16",
        architecture=network_of(shape, "fan_in_uniform"),
        pretrain=PretrainConfig(
            epochs=500,
            optimizer=Optimizer("sgd", 1.0),
            augmentation=light_augmentation(shape),
            target="distorted",
        ),
        train=TrainConfig(
            update_interval=30 if few else 140,
            # 20,000 iterations at most, in whole intervals.
            max_intervals=667 if few else 143,
            optimizer=Optimizer("sgd", 0.01),
            augmentation=light_augmentation(shape),
        ),
    )


def idec_da(shape: DataShape) -> Recipe:
    """IDEC with data augmentation, FcIDEC-DA of Guo et al. (ACML 2018): see `dec_da`."""
    recipe = dec_da(shape)
    return replace(
        recipe,
        source="Guo, Zhu, Liu and Yin (2018), github.com/XifengGuo/DEC-DA, FcIDEC-DA",
        expected="MNIST-70k: ACC 0.98, as published",
        objective=IDEC(),
        train=replace(recipe.train, optimizer=Optimizer("sgd", 1.0)),
    )


def vade(shape: DataShape) -> Recipe:
    """Variational Deep Embedding (Jiang et al., IJCAI 2017), after 50 epochs as `dec`.

    The network is pretrained as a plain autoencoder, a Gaussian mixture with diagonal
    covariances, fitted to z by EM from k-means, is the first prior, and Adam trains both:
    0.002, times 0.9 every ten epochs, down to 0.0002. What is not said of the published
    pretraining is that of `dec` here. The authors' code runs for up to 3,000 epochs on
    MNIST, and starts again if the accuracy is below 0.77 after one. Images are Bernoulli
    and must be in [0, 1], tables Gaussian.
    """
    batches = steps_per_epoch(shape.n_samples, 100)
    recipe = dec(shape)
    assert isinstance(recipe.pretrain, PretrainConfig)
    return replace(
        recipe,
        source="Jiang, Zheng, Tan, Tang and Zhou (2017), github.com/slim1017/VaDE",
        expected="MNIST-70k: ACC 0.945, as published",
        architecture=replace(
            recipe.architecture,
            variational=True,
            output_activation="sigmoid" if shape.image_shape else "linear",
        ),
        pretrain=replace(recipe.pretrain, objective=MeanReconstruction()),
        objective=VaDE(),
        train=TrainConfig(
            update_interval=batches,
            max_intervals=300,
            batch_size=100,
            tolerance=0,
            optimizer=Optimizer(
                "adam",
                2e-3,
                schedule="step",
                decay_every=10 * batches,
                decay_rate=0.9,
                least_rate=2e-4,
                epsilon=1e-4,
            ),
        ),
    )


def n2d(shape: DataShape) -> Recipe:
    """N2D (McConville et al., ICPR 2020), and a network that has learned its labels.

    UMAP of z and a Gaussian mixture label the data, which is all that is published. Ten
    epochs then teach the encoder and its centroids those labels, from moved images, so
    that new data need neither UMAP nor mixture. The autoencoder is that of `dec`; the
    published one is trained for 1,000 epochs.
    """
    learning = replace(
        _learning(shape),
        max_intervals=10,
        frozen_target_intervals=9,
        augmentation=light_augmentation(shape),
    )
    return replace(
        dec(shape),
        source="McConville, Santos-Rodriguez, Piechocki and Craddock (2020)",
        expected="MNIST-70k: ACC 0.979, NMI 0.942, as published",
        objective=IDEC(),
        start="umap",
        train=learning,
    )


def best(shape: DataShape) -> Recipe:
    """Clusters found in the graph of z's neighbors, then learned from moved images.

    The pretraining of `dec`. Clusters that the graph tells apart may be long and bent,
    where k-means cuts balls; for four epochs they are what p says, then p is refreshed,
    but keeps them as large as they are by then. Images are moved further than in `dec`,
    p comes from unmoved ones, Adam (DEC-DA).

    5,000 images and more are learned by a convolutional network that starts from nothing
    but the labels (DEC, 12 epochs, or 3,000 steps where these are more). Fewer images,
    which it would learn by heart, tables, and a network that is given keep the pretrained
    one (IDEC, 30 intervals).
    """
    recipe = replace(
        dec(shape),
        source="spectral clustering as of Zelnik-Manor and Perona (2004), DEC, IDEC and "
        "DEC-DA of Guo et al. (2017, 2018); sizes kept as of Asano et al. (2020)",
        expected="MNIST-70k: ACC 0.986, the mean of seeds 0-4 (0.986 to 0.986), in bfloat16",
        objective=IDEC(),
        start="spectral",
        train=replace(
            _learning(shape),
            max_intervals=30,
            frozen_target_intervals=4,
            keep_cluster_sizes=True,
            augmentation=strong_augmentation(shape),
        ),
    )
    if (
        shape.image_shape is None
        or shape.n_samples < FEWEST_TO_LEARN
        or shape.architecture is not None
    ):
        return recipe
    network = learner_network(shape.image_shape, shape.n_clusters)
    learner = replace(network, input_scale=shape.input_scale)
    # Twelve epochs of MNIST are 3,288 steps; small data need more of theirs for as many.
    intervals = max(12, -(-3_000 // recipe.train.update_interval))
    train = replace(recipe.train, max_intervals=intervals)
    return replace(recipe, objective=DEC(), train=train, learner=learner)


def _learning(shape: DataShape) -> TrainConfig:
    """How `best` and `n2d` learn labels that are not those of k-means."""
    batches = steps_per_epoch(shape.n_samples, 256)
    # Small data need more passes for the same number of steps.
    passes = max(1, -(-100 // batches))
    return TrainConfig(
        update_interval=passes * batches,
        # The last steps are small ones, and are to be taken.
        tolerance=0,
        optimizer=Optimizer("adam", 1e-3, schedule="cosine"),
    )


RECIPES: dict[str, Callable[[DataShape], Recipe]] = {
    "dec": dec,
    "dec-paper": dec_paper,
    "dec-keras": dec_keras,
    "idec": idec,
    "dcn": dcn,
    "kld-conv": kld_conv,
    "kmeans-conv": kmeans_conv,
    "dec-da": dec_da,
    "idec-da": idec_da,
    "dec-da-conv": dec_da_conv,
    "vade": vade,
    "n2d": n2d,
    "best": best,
}


def make_recipe(
    name: str, shape: DataShape, architecture: Architecture | None = None
) -> Recipe:
    """The settings of a named recipe for data of this shape.

    Args:
      name: a key of `RECIPES`.
      shape: what the data look like.
      architecture: a network to take instead of the recipe's own.

    Returns:
      The settings; change them with `dataclasses.replace`.

    Raises:
      ValueError: no recipe of that name (the nearest one is named), no network of the
        recipe's for such images, or one given for samples of another size.
    """
    check_choice("recipe", name, RECIPES)
    if architecture is None:
        return RECIPES[name](shape)
    if architecture.input_dim != shape.input_dim:
        raise ValueError(
            f"architecture must take {shape.input_dim} values, as the samples have, got "
            f"one for {architecture.input_dim} {architecture.input_shape}."
        )
    return RECIPES[name](replace(shape, architecture=architecture))
