"""Numbers that may stand for a missing value, such as -999."""

import re

import numpy as np
from jaxtyping import Float

LEAST_SHARE, LEAST_ROWS = 0.01, 5  # of the rows that hold such a number
LEAST_OTHERS = 10  # different numbers of the column; fewer are answers or grades
MIDDLE = (
    0.05,
    0.95,
)  # quantiles of the different numbers, whose distance is their width
# By custom, below zero, where nothing else is.
CODE = re.compile(r"-(1|9+)")


def sentinels_of(values: Float[np.ndarray, " n"]) -> dict[str, int]:
    """Finds the numbers of a column that may stand for a missing value, and counts them.

    Such a number is the least or the greatest, is not 0, and is repeated in at least a
    hundredth of the rows and in 5. It lies farther from its neighbor than the middle nine
    tenths of the other numbers are wide, or it is -1, -9, -99 and so on where no other
    number is below 0, and lies farther from its neighbor than most neighbors do. There are
    at least 10 other numbers.

    Args:
      values: NaN where a number is missing already.

    Returns:
      The number of rows by the number as one types it.

    Example:
      >>> ages = np.arange(200.0) % 60 + 18
      >>> ages[::20] = -999
      >>> sentinels_of(ages), sentinels_of(np.arange(200.0) % 60)
      ({'-999': 10}, {})
    """
    numbers, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    least = max(LEAST_ROWS, LEAST_SHARE * len(values))
    found: dict[str, int] = {}
    # One that was found is none of the others for the next.
    while len(numbers) > LEAST_OTHERS:
        for at, neighbor, others in ((0, 1, numbers[1:]), (-1, -2, numbers[:-1])):
            text = typed(float(numbers[at]))
            low, high = np.quantile(others, MIDDLE, method="nearest")
            gap = abs(numbers[at] - numbers[neighbor])
            far = gap > high - low
            # A scale that begins at -1 goes on in equal steps.
            code = CODE.fullmatch(text) and others.min() >= 0
            code = code and gap > np.median(np.diff(others))
            if counts[at] >= least and text != "0" and (far or code):
                found[text] = int(counts[at])
                numbers, counts = np.delete(numbers, at), np.delete(counts, at)
                break
        else:
            break
    return found


def typed(value: str | float) -> str:
    """Writes a value as one types it.

    Example:
      >>> typed(-999.0), typed(" 0.5 "), typed("unknown")
      ('-999', '0.5', 'unknown')
    """
    text = value.strip() if isinstance(value, str) else repr(float(value))
    return text.removesuffix(".0")


def without(
    numbers: Float[np.ndarray, " n"], missing: tuple[str, ...]
) -> Float[np.ndarray, " n"]:
    """Replaces the numbers that stand for a missing one by NaN.

    Args:
      numbers: of a column.
      missing: as one types them; texts that are no numbers match none.

    Example:
      >>> without(np.array([5.0, -999.0]), ("-999.0", "unknown")).tolist()
      [5.0, nan]
    """
    known = []
    for text in missing:
        try:
            known.append(float(text))
        except ValueError:
            continue
    # All is computed in float32, in which a file may hold them.
    with np.errstate(over="ignore"):
        same = np.isin(numbers.astype(np.float32), np.array(known, np.float32))
    return np.where(same, np.nan, numbers)
