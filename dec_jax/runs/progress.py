"""Progress bars."""

import sys

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
