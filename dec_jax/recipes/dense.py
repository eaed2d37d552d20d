"""The recipes with dense networks, and the list of all recipes.

A recipe is a function of the shape of the data, never of their labels. To add one, write
its function, add it to `RECIPES`, and describe it in `recipes/names.py`.
"""

from collections.abc import Callable
from dataclasses import replace

from dec_jax.networks.architecture import dense_architecture
from dec_jax.networks.own import Network, change_network
from dec_jax.objectives import DCN, DEC, IDEC
from dec_jax.recipes.convolutional import (
    dec_da_conv,
    kld_conv,
    kmeans_conv,
    learner_network,
)
from dec_jax.recipes.deep_kmeans import ace_dec, aec, den, dkm
from dec_jax.recipes.information import iic, imsat
from dec_jax.recipes.names import DESCRIPTIONS
from dec_jax.recipes.recipe import (
    DataShape,
    Recipe,
    laptop_pretraining,
    light_augmentation,
    network_of,
    sized_network,
    strong_augmentation,
)
from dec_jax.recipes.resets import with_resets
from dec_jax.recipes.variational import vade
from dec_jax.training.layerwise import LayerwiseConfig
from dec_jax.training.minibatches import even_batch_size, steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig
from dec_jax.training.state import TrainConfig
from dec_jax.validation import check_choice

# With fewer images a network with new weights memorizes labels and does not generalize.
FEWEST_TO_LEARN = 5_000
USUAL_WIDTH = 2_000  # columns up to which `auto` learns for its full number of steps

__all__ = ["RECIPES", "DataShape", "Recipe", "make_recipe"]


def dec(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Deep Embedded Clustering with a pretraining short enough for a laptop.

    The network and the clustering phase are those of Xie et al. (2016). Pretraining
    differs: the paper spends 300,000 iterations on it, while here the autoencoder is
    trained end to end with Adam. Both phases see augmented images (+-10 degrees, +-10 %
    of the side; Guo et al., DEC-DA, ACML 2018), and p is computed from the original
    ones. Tables are not augmented, and small ones get narrower layers
    (`sized_network`).
    """
    return Recipe(
        source="Xie, Girshick and Farhadi (2016); distortion of Guo et al. (2018)",
        architecture=network_of(
            shape, "glorot_uniform", architecture or sized_network(shape)
        ),
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


def dec_paper(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Deep Embedded Clustering with the paper's schedule, pretrained layer by layer.

    Greedy denoising of each layer takes 50,000 iterations, and fine-tuning of all layers
    100,000, with SGD whose learning rate is divided by 10 every 20,000. The paper's loss
    is half of the mean squared error, so its learning rate of 0.1 is 0.05 here. Two
    details of its solver are left out: momentum that grows over the first 1,000
    iterations, and a doubled learning rate for biases. As in the paper's code, bytes are
    multiplied by 0.02.
    """
    batches = steps_per_epoch(shape.n_samples, 256)
    optimizer = Optimizer("sgd", 0.05, schedule="step", decay_every=20_000)
    layer, finetune = (
        PretrainConfig(epochs=-(-steps // batches), optimizer=optimizer)
        for steps in (50_000, 100_000)
    )
    scaled = shape.input_scale if shape.input_scale == 1 else 0.02
    network = network_of(shape, "xie_normal", architecture)
    return Recipe(
        source="Xie, Girshick and Farhadi (2016), github.com/piiswrong/dec",
        architecture=change_network(network, input_scale=scaled),
        pretrain=LayerwiseConfig(layer, finetune, corruption=0.2),
        n_init=20,
        objective=DEC(),
        train=TrainConfig(
            update_interval=160, max_intervals=125, optimizer=Optimizer("sgd", 0.01)
        ),
    )


def idec(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Improved DEC (Guo et al., IJCAI 2017) after the pretraining of `dec`.

    The clustering phase is the published one: gamma 0.1, Adam 1e-3, no augmentation.
    Only the pretraining differs: the published code starts from the weights of DEC.
    """
    return replace(
        dec(shape, architecture),
        source="Guo, Gao, Liu and Yin (2017), github.com/XifengGuo/IDEC",
        objective=IDEC(),
        train=TrainConfig(
            update_interval=min(140, steps_per_epoch(shape.n_samples, 256)),
            optimizer=Optimizer("adam", 1e-3),
        ),
    )


def dcn(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Deep Clustering Network (Yang et al., ICML 2017) after the pretraining of `dec`.

    The weight of the clustering loss is not the published one (6e-5): it was the best of
    6e-5, 0.001, 0.01, 0.03 and 0.1 on MNIST, seed 0, after ten epochs.
    """
    batches = steps_per_epoch(shape.n_samples, 256)
    return replace(
        dec(shape, architecture),
        source="Yang, Fu, Sidiropoulos and Hong (2017)",
        objective=DCN(),
        train=TrainConfig(
            update_interval=batches, max_intervals=50, optimizer=Optimizer("adam", 1e-4)
        ),
    )


def dec_keras(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Deep Embedded Clustering with the settings of XifengGuo/DEC-keras.

    Most papers compare with this implementation. It pretrains end to end with SGD of
    learning rate 1 from weights U(+-1/sqrt(fan_in)), and has other settings for USPS. One
    difference: batches are shuffled here, while its batches keep the order of the file.
    """
    mnist_like = shape.n_samples > 20_000
    usps = shape.name == "usps"
    initializer = "glorot_uniform" if usps else "fan_in_uniform"
    return Recipe(
        source="github.com/XifengGuo/DEC-keras, DEC.py",
        architecture=network_of(shape, initializer, architecture),
        pretrain=PretrainConfig(
            epochs=300 if mnist_like else 50,
            optimizer=Optimizer("adam", 1e-3) if usps else Optimizer("sgd", 1.0),
        ),
        n_init=20,
        objective=DEC(),
        train=TrainConfig(
            update_interval=140 if mnist_like else 30,
            # At most 20,000 iterations, in whole intervals.
            max_intervals=143 if mnist_like else 667,
            optimizer=Optimizer("sgd", 0.01),
        ),
    )


def dec_da(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """DEC with data augmentation, FcDEC-DA of Guo et al. (ACML 2018), in full.

    The autoencoder reconstructs augmented images for 500 epochs of SGD with learning
    rate 1. DEC follows, with q of augmented and p of original images. The recipe `dec`
    has a tenth of this pretraining.
    """
    few = shape.n_samples <= 20_000
    return replace(
        dec(shape, architecture),
        source="Guo, Zhu, Liu and Yin (2018), github.com/XifengGuo/DEC-DA, FcDEC-DA",
        architecture=network_of(shape, "fan_in_uniform", architecture),
        pretrain=PretrainConfig(
            epochs=500,
            optimizer=Optimizer("sgd", 1.0),
            augmentation=light_augmentation(shape),
            target="distorted",
        ),
        train=TrainConfig(
            update_interval=30 if few else 140,
            # At most 20,000 iterations, in whole intervals.
            max_intervals=667 if few else 143,
            optimizer=Optimizer("sgd", 0.01),
            augmentation=light_augmentation(shape),
        ),
    )


def idec_da(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """IDEC with data augmentation, FcIDEC-DA of Guo et al. (ACML 2018): see `dec_da`."""
    recipe = dec_da(shape, architecture)
    return replace(
        recipe,
        source="Guo, Zhu, Liu and Yin (2018), github.com/XifengGuo/DEC-DA, FcIDEC-DA",
        objective=IDEC(),
        train=replace(recipe.train, optimizer=Optimizer("sgd", 1.0)),
    )


def n2d(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """N2D (McConville et al., ICPR 2020), whose labels the network then learns.

    UMAP of z and a Gaussian mixture label the data; the published method ends there. Ten
    epochs on augmented images then teach the encoder and its centroids those labels, so
    that new data need neither UMAP nor the mixture. The autoencoder is that of `dec`; the
    published one is trained for 1,000 epochs.
    """
    learning = replace(
        _learning(shape),
        max_intervals=10,
        frozen_target_intervals=9,
        augmentation=light_augmentation(shape),
    )
    return replace(
        dec(shape, architecture),
        source="McConville, Santos-Rodriguez, Piechocki and Craddock (2020)",
        objective=IDEC(),
        start="umap",
        train=learning,
    )


def best(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Spectral clusters of z's neighbor graph, which a network then learns.

    The pretraining is that of `dec`. Spectral clustering recovers curved clusters that
    k-means would split. For four intervals p holds their labels; then p is refreshed, and
    keeps the cluster sizes of that time. Images are augmented more strongly than in
    `dec`, p is computed from the original ones, and Adam trains (as in DEC-DA).

    For 5,000 images and more, a convolutional network with new weights learns from the
    labels (DEC, 12 epochs, or 3,000 steps if these are more). It would memorize fewer
    images. For those, for tables, and if an architecture is given, the pretrained network
    is trained further (IDEC, 30 intervals).
    """
    recipe = replace(
        dec(shape, architecture),
        source="spectral clustering as of Zelnik-Manor and Perona (2004), DEC, IDEC and "
        "DEC-DA of Guo et al. (2017, 2018); sizes kept as of Asano et al. (2020)",
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
        or architecture is not None
    ):
        return recipe
    network = learner_network(shape.image_shape, shape.n_clusters)
    learner = replace(network, input_scale=shape.input_scale)
    # Twelve epochs of MNIST are 3,288 steps; small data need more epochs for as many.
    intervals = max(12, -(-3_000 // recipe.train.update_interval))
    train = replace(recipe.train, max_intervals=intervals)
    return replace(recipe, objective=DEC(), train=train, learner=learner)


def auto(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """The default for any data: `best` for images, a judged labeling for everything else.

    k-means, Gaussian mixtures, linkages and cuts of neighbor graphs label the samples, and
    a judge that needs no classes chooses among them (`choose_labels`). A small network
    with new weights then learns these labels, so that new data need none of the methods,
    in 3,000 steps, or fewer, down to 300, for rows of more than 2,000 columns.
    An autoencoder would add nothing to a table of a few columns, and is left out; if an
    architecture is given, it is pretrained as in `dec`, and its z is labeled.
    """
    if shape.image_shape is not None:
        return best(shape, architecture)
    width = shape.input_dim
    recipe = replace(
        dec(shape, architecture),
        source="agreement of many simple methods",
        start="judge",
        train=TrainConfig(
            batch_size=even_batch_size(shape.n_samples),
            # Wide rows are told apart in fewer steps, each of which takes longer.
            update_interval=max(25, 250 * USUAL_WIDTH // max(USUAL_WIDTH, width)),
            max_intervals=12,
            # The last interval sharpens q; the others hold the labels of the start.
            frozen_target_intervals=11,
            keep_cluster_sizes=True,
            tolerance=0,
            patience=3,
            optimizer=Optimizer("adam", 2e-3, schedule="cosine"),
        ),
    )
    if architecture is not None:
        return recipe
    learner = dense_architecture(
        shape.input_dim,
        hidden=(256, 256),
        embedding_dim=shape.n_clusters,
        input_scale=shape.input_scale,
    )
    return replace(recipe, architecture=learner, learner=learner, pretrain=None)


def _learning(shape: DataShape) -> TrainConfig:
    """Settings with which `best` and `n2d` learn the labels they start from."""
    batches = steps_per_epoch(shape.n_samples, 256)
    # Small data need more passes for the same number of steps.
    passes = max(1, -(-100 // batches))
    return TrainConfig(
        batch_size=even_batch_size(shape.n_samples),
        update_interval=passes * batches,
        # The cosine schedule ends with small steps that must be taken, unless no label
        # changes any more.
        tolerance=0,
        patience=3,
        optimizer=Optimizer("adam", 1e-3, schedule="cosine"),
    )


RECIPES: dict[str, Callable[[DataShape, Network | None], Recipe]] = {
    "dec": dec,
    "dec-paper": dec_paper,
    "dec-keras": dec_keras,
    "idec": idec,
    "dcn": dcn,
    "dec-brb": with_resets(dec),
    "idec-brb": with_resets(idec),
    "dcn-brb": with_resets(dcn),
    "kld-conv": kld_conv,
    "kmeans-conv": kmeans_conv,
    "dec-da": dec_da,
    "idec-da": idec_da,
    "dec-da-conv": dec_da_conv,
    "dkm": dkm,
    "aec": aec,
    "ace-dec": ace_dec,
    "den": den,
    "imsat": imsat,
    "iic": iic,
    "vade": vade,
    "n2d": n2d,
    "best": best,
    "auto": auto,
}


def make_recipe(
    name: str, shape: DataShape, architecture: Network | None = None
) -> Recipe:
    """Makes the settings of a named recipe for data of this shape.

    Args:
      name: one of `RECIPES`.
      shape: properties of the data.
      architecture: network to use in place of the recipe's own.

    Returns:
      The settings; change them with `dataclasses.replace`.

    Raises:
      ValueError: an unknown name (the message suggests the nearest one), images that the
        recipe has no network for, or a network for samples of another size.

    Example:
      >>> recipe = make_recipe("dec", DataShape(n_samples=1797, input_dim=64))
      >>> [layer.features for layer in recipe.architecture.layers]
      [250, 250, 1000, 10]
      >>> recipe.pretrain.epochs, recipe.train.optimizer.name
      (250, 'sgd')
    """
    check_choice("recipe", name, RECIPES)
    if architecture is not None and architecture.input_dim != shape.input_dim:
        raise ValueError(
            f"architecture must take {shape.input_dim} values, as the samples have, got "
            f"one for {architecture.input_dim} {architecture.input_shape}."
        )
    recipe = RECIPES[name](shape, architecture)
    return replace(recipe, name=name, expected=DESCRIPTIONS[name].expected)
