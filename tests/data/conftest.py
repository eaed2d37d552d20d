"""Settings for all tests of data: nothing outside the test is read or downloaded."""

import pytest
from programs import without_mnist


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No folder, no TFDS cache, and a proxy that refuses every connection."""
    without_mnist(monkeypatch, tmp_path)
