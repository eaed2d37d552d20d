"""Settings for all tests of data: nothing outside the test is read or downloaded."""

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No folder, no TFDS cache, and a proxy that refuses every connection."""
    monkeypatch.delenv("DEC_JAX_DATA", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
