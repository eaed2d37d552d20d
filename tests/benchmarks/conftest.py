from functools import partial

import pytest

from benchmarks import train_step
from dec_jax.networks.architecture import dense_architecture
from dec_jax.recipes.dense import make_recipe


@pytest.fixture
def narrow(monkeypatch):
    """The recipe with a hidden layer of 16, 128 images, and small matrices as the limit."""
    small = dense_architecture(train_step.WIDTH, hidden=(16,), embedding_dim=10)
    monkeypatch.setattr(
        train_step, "make_recipe", partial(make_recipe, architecture=small)
    )
    monkeypatch.setattr(train_step, "SAMPLES", 128)
    monkeypatch.setattr(train_step, "LIMIT_SIZE", 64)
