"""Progress bars."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


def bar_of(title: str, total: int, done: int, unit: str) -> tqdm:
    """Opens a progress bar; in a log file it writes a line every half minute.

    Args:
      title: the words at its left.
      total: steps in all.
      done: steps taken before.
      unit: the word for one step.

    Returns:
      The bar.
    """
    return tqdm(
        desc=f"{title:<17}",
        total=total,
        initial=done,
        unit=unit,
        mininterval=0.2 if sys.stderr.isatty() else 30,
        bar_format="{desc} {percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} "
        "[{elapsed}<{remaining}{postfix}]",
    )


@contextmanager
def image_bars(encoder: object = None) -> Iterator[Callable[[int, int], None]]:
    """Opens the bars of images that are read, and of their features where there are any.

    Args:
      encoder: the network that encodes the images, if there is one.

    Yields:
      The `progress` of `load_dataset`; without images, no bar appears.
    """
    titles = ["reading images", "features"]
    if encoder is not None:
        titles = ["encoding images"]
    bars: list[tqdm] = []

    def progress(done: int, total: int) -> None:
        # Features begin again at the first image.
        if not bars or done < bars[-1].n:
            bars.append(bar_of(titles[len(bars)], total, 0, "file"))
        bars[-1].update(done - bars[-1].n)

    try:
        yield progress
    finally:
        for bar in bars:
            bar.close()
