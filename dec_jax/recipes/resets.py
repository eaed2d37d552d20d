"""Recipes with soft resets (BRB), made of those without."""

from collections.abc import Callable
from dataclasses import replace

from dec_jax.networks.own import Network
from dec_jax.recipes.recipe import DataShape, Recipe, light_augmentation
from dec_jax.training.minibatches import steps_per_epoch
from dec_jax.training.optimizer import Optimizer
from dec_jax.training.state import SoftReset, TrainConfig

# Batches of 256 of the smallest set of the paper, optdigits, of 5,620 samples.
FEWEST_STEPS = 22
RecipeMaker = Callable[[DataShape, Network | None], Recipe]


def with_resets(make: RecipeMaker) -> RecipeMaker:
    """Replaces the clustering phase of a recipe by that of Miklautz et al. (ICLR 2025).

    As published: 400 epochs with Adam 1e-3 on augmented images, and every 20 epochs the
    encoder keeps 80 % of its weights, while k-means places the centroids anew. The paper
    pretrains for 250 epochs without augmentation, has wider layers, and computes p of each
    batch; here the pretraining is that of the recipe, and p is refreshed once an epoch.
    Fewer than 5,377 samples are passed several times in an interval: after a reset, the
    network needs steps, not epochs.

    Args:
      make: the recipe without resets.

    Returns:
      The recipe with them.
    """

    def make_with_resets(
        shape: DataShape, architecture: Network | None = None
    ) -> Recipe:
        recipe = make(shape, architecture)
        batches = steps_per_epoch(shape.n_samples, 256)
        return replace(
            recipe,
            source=f"Miklautz et al. (2025), soft resets; {recipe.source}",
            train=TrainConfig(
                update_interval=batches * -(-FEWEST_STEPS // batches),
                max_intervals=400,
                tolerance=0,
                optimizer=Optimizer("adam", 1e-3),
                augmentation=light_augmentation(shape),
                soft_reset=SoftReset(every=20, keep=0.8),
            ),
        )

    return make_with_resets
