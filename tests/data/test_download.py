import socket

import pytest

from dec_jax.data.download import check_connection


def test_check_connection_gives_up_on_a_server_that_does_not_answer(monkeypatch):
    pytest.importorskip("requests")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(OSError, match="cannot be fetched .ReadTimeout"):
            check_connection(url, seconds=0.2)
