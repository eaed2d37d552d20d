"""A quick check of the network before a download."""

import threading

from dec_jax.validation import require


def check_connection(url: str, seconds: float = 5.0) -> None:
    """Checks, within about twice `seconds`, that `url` can be fetched.

    Args:
      url: address of a file; only its headers are read.
      seconds: how long the server may take to answer.

    Raises:
      OSError: the server does not answer, or refuses; the message is one line.
      ImportError: requests is not installed.
    """
    requests = require("requests", extra="data", task="downloading data")
    outcome: list[Exception | None] = []

    def probe() -> None:
        try:
            with requests.get(url, timeout=seconds, stream=True) as response:
                response.raise_for_status()
            outcome.append(None)
        except requests.RequestException as error:
            outcome.append(error)

    # Resolving a name can block for minutes and has no timeout: hence the thread.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(2 * seconds)
    if not outcome:
        raise OSError(f"no answer from {url} in {2 * seconds:.0f} s")
    if outcome[0] is not None:
        raise OSError(f"{url} cannot be fetched ({type(outcome[0]).__name__})")
