"""A small model in a file."""

import pytest
from small_models import METADATA, TINY, some_params

from dec_jax import model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    """A small whole file."""
    return model.save(path, some_params(TINY), architecture=TINY, metadata=METADATA)
