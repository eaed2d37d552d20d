"""The recipes that train an autoencoder together with a loss of k-means."""

from dec_jax.networks.own import Network
from dec_jax.objectives.dkm import DKM
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


def _network(shape: DataShape, architecture: Network | None) -> Network:
    """Returns `architecture` if it is given, else d-500-500-2000-10, narrower for tables."""
    return network_of(shape, "glorot_uniform", architecture or sized_network(shape))


def _pretraining(batches: int) -> PretrainConfig:
    """Trains 50 epochs with Adam on the samples as they are, more for small data."""
    return PretrainConfig(
        epochs=max(50, -(-2000 // batches)), optimizer=Optimizer("adam", 1e-3)
    )
