"""The recipe of the variational autoencoder."""

from dataclasses import replace

from dec_jax.networks.own import Network, change_network
from dec_jax.objectives.reconstruction import MeanReconstruction
from dec_jax.objectives.vade import VaDE
from dec_jax.recipes.recipe import (
    DataShape,
    Recipe,
    laptop_pretraining,
    network_of,
    sized_network,
)
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.state import TrainConfig


def vade(shape: DataShape, architecture: Network | None = None) -> Recipe:
    """Variational Deep Embedding (Jiang et al., IJCAI 2017), after 50 epochs as `dec`.

    The network is pretrained as a plain autoencoder. A Gaussian mixture with diagonal
    covariances, fitted to z by EM from k-means, is the initial prior. Adam then trains
    both, with a learning rate of 0.002, times 0.9 every ten epochs, down to 0.0002.
    Settings of the pretraining that are not published are those of `dec`. The authors'
    code trains for up to 3,000 epochs on MNIST, and restarts if the accuracy is below
    0.77 after one. Images are Bernoulli variables and must be in [0, 1]; the values of
    tables are Gaussian.
    """
    batches = steps_per_epoch(shape.n_samples, 100)
    network = architecture or sized_network(shape)
    return Recipe(
        source="Jiang, Zheng, Tan, Tang and Zhou (2017), github.com/slim1017/VaDE",
        architecture=change_network(
            network_of(shape, "glorot_uniform", network),
            variational=True,
            output_activation="sigmoid" if shape.image_shape else "linear",
        ),
        pretrain=replace(laptop_pretraining(shape), objective=MeanReconstruction()),
        n_init=20,
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
