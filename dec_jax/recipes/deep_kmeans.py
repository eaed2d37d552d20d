"""The recipes that train an autoencoder together with a loss of k-means."""

from dataclasses import replace

from dec_jax.networks.architecture import Architecture, Dense
from dec_jax.networks.own import Network
from dec_jax.objectives import AEC, DEN, DKM, ACeDeC, Objective
from dec_jax.recipes.recipe import DataShape, Recipe, network_of, sized_network
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.pretrain import PretrainConfig
from dec_jax.training.state import TrainConfig


def dkm(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Deep k-Means (Moradi Fard et al., 2020), from a pretrained autoencoder.

    The settings are the published ones for MNIST: 50 epochs of pretraining, more for data
    of fewer than 10,000 samples, then 100 epochs with alpha 1000 and lambda 1, all with
    Adam. Samples are not augmented. Tables of few values get narrower layers.
    """
    batches = steps_per_epoch(shape.n_samples, 256)
    return Recipe(
        source="Moradi Fard, Thonet and Gaussier (2020), "
        "github.com/MaziarMF/deep-k-means",
        architecture=_network(shape, architecture),
        pretrain=_pretraining(batches),
        n_init=20,
        # The reconstruction is a mean over the values here, and a sum in the paper.
        objective=DKM(clustering_weight=1 / shape.input_dim),
        train=TrainConfig(
            update_interval=batches,
            max_intervals=100,
            tolerance=0,
            optimizer=Optimizer("adam", 1e-3),
        ),
    )


def aec(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Auto-encoder based clustering (Song et al., 2013), with settings of ClustPy.

    The autoencoder is that of `dkm`. The clustering phase has the weight (0.1), the
    optimizer (Adam 1e-4) and the length (50 epochs) of ClustPy's implementation, because
    the paper's own network and optimizer are of another time. It starts from k-means on z,
    and centroids and labels are updated after each epoch.
    """
    return _with_adam(
        shape,
        architecture,
        AEC(),
        source="Song, Liu, Huang, Wang and Tan (2013); settings of "
        "github.com/collinleiber/ClustPy",
        epochs=50,
    )


def ace_dec(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """ACe/DeC (Miklautz et al., IJCAI 2021), with settings of ClustPy.

    The autoencoder is that of `dkm`, but its z has 20 dimensions, of which some can become
    the shared space. The clustering phase has the weight (1), the optimizer (Adam 1e-4),
    the batches (128) and the length (150 epochs) of ClustPy's implementation. Three things
    differ from it: the first rotation is that of the scatter between the clusters of
    k-means, where it runs Nr-Kmeans; centroids are running means by counts (DCN); and
    nothing is clustered again at the end. There beta also learns ten times as fast as the
    network.
    """
    recipe = _with_adam(
        shape,
        architecture or _with_embedding(shape, 20),
        ACeDeC(),
        source="Miklautz, Bauer, Mautz, Tschiatschek, Boehm and Plant (2021); settings of "
        "github.com/collinleiber/ClustPy",
        epochs=150,
    )
    batches = steps_per_epoch(shape.n_samples, 128)
    train = replace(recipe.train, batch_size=128, update_interval=batches)
    return replace(recipe, train=train)


def den(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Deep Embedding Network (Huang et al., ICPR 2014), with settings of ClustPy.

    The autoencoder is that of `dkm`, with a group of two dimensions of z for each cluster.
    Weights (0.5 and 1, next to a reconstruction that is a sum over the values), neighbors
    (2), optimizer (Adam 1e-3) and length (100 epochs) are those of ClustPy's
    implementation; the paper pretrains by deep belief networks.
    """
    recipe = _with_adam(
        shape,
        architecture or _with_embedding(shape, 2 * shape.n_clusters),
        DEN(
            locality_weight=0.5 / shape.input_dim,
            sparsity_weight=1 / shape.input_dim,
        ),
        source="Huang, Huang, Wang and Wang (2014); settings of "
        "github.com/collinleiber/ClustPy",
        epochs=100,
    )
    train = replace(recipe.train, optimizer=Optimizer("adam", 1e-3))
    return replace(recipe, train=train)


def _with_embedding(shape: DataShape, width: int) -> Architecture:
    """Makes the network of `sized_network` with another width of z."""
    network = sized_network(shape)
    return replace(network, layers=(*network.layers[:-1], Dense(width, "linear")))


def _with_adam(
    shape: DataShape,
    architecture: Network | None,
    objective: Objective,
    *,
    source: str,
    epochs: int,
) -> Recipe:
    """Makes a recipe of a plain autoencoder and epochs of Adam with a rate of 1e-4."""
    batches = steps_per_epoch(shape.n_samples, 256)
    return Recipe(
        source=source,
        architecture=_network(shape, architecture),
        pretrain=_pretraining(batches),
        n_init=20,
        objective=objective,
        train=TrainConfig(
            update_interval=batches,
            max_intervals=epochs,
            tolerance=0,
            optimizer=Optimizer("adam", 1e-4),
        ),
    )


def _network(shape: DataShape, architecture: Network | None) -> Network:
    """Returns `architecture` if it is given, else d-500-500-2000-10, narrower for tables."""
    return network_of(shape, "glorot_uniform", architecture or sized_network(shape))


def _pretraining(batches: int) -> PretrainConfig:
    """Trains 50 epochs with Adam on the samples as they are, more for small data."""
    return PretrainConfig(
        epochs=max(50, -(-2000 // batches)), optimizer=Optimizer("adam", 1e-3)
    )
