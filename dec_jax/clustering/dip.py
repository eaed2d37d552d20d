"""The dip test of unimodality: is a sample of numbers from one group or from several?

Hartigan and Hartigan, `The Dip Test of Unimodality
<https://doi.org/10.1214/aos/1176346577>`_, The Annals of Statistics 13, 1985.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

LEAST_SAMPLES = 50  # of a dip test, where the two clusters have as many
# Sizes and levels of the table of quantiles.
SIZES = (10, 20, 50, 100, 200, 500, 1_000, 2_000)
LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
# Quantiles of the root of n times the dip of n uniform numbers, the unimodal distribution
# of the largest dips, over 10,000 samples: `python -m benchmarks.dip_table` prints them.
# fmt: off
QUANTILES = (
    (0.1945, 0.2285, 0.2471, 0.2705, 0.2863, 0.2983, 0.3091, 0.3226, 0.3468, 0.3739, 0.4104, 0.4398, 0.5043, 0.5721),  # 10
    (0.2122, 0.2366, 0.2540, 0.2774, 0.2949, 0.3112, 0.3280, 0.3474, 0.3681, 0.3949, 0.4342, 0.4698, 0.5363, 0.6182),  # 20
    (0.2209, 0.2492, 0.2673, 0.2893, 0.3088, 0.3273, 0.3454, 0.3661, 0.3876, 0.4147, 0.4564, 0.4933, 0.5693, 0.6578),  # 50
    (0.2306, 0.2576, 0.2751, 0.2987, 0.3184, 0.3363, 0.3548, 0.3745, 0.3984, 0.4282, 0.4711, 0.5095, 0.5869, 0.6838),  # 100
    (0.2324, 0.2614, 0.2804, 0.3058, 0.3255, 0.3444, 0.3634, 0.3847, 0.4069, 0.4354, 0.4827, 0.5231, 0.6097, 0.7101),  # 200
    (0.2376, 0.2671, 0.2854, 0.3098, 0.3304, 0.3494, 0.3681, 0.3895, 0.4147, 0.4451, 0.4910, 0.5330, 0.6210, 0.7099),  # 500
    (0.2411, 0.2695, 0.2873, 0.3114, 0.3332, 0.3528, 0.3726, 0.3927, 0.4167, 0.4456, 0.4951, 0.5362, 0.6203, 0.7164),  # 1,000
    (0.2433, 0.2719, 0.2905, 0.3153, 0.3349, 0.3534, 0.3738, 0.3946, 0.4206, 0.4513, 0.4964, 0.5369, 0.6210, 0.7148),  # 2,000
)
# fmt: on


def dip(x: ArrayLike) -> float:
    """Computes the dip: the distance of a sample to the nearest unimodal distribution.

    It is the least D for which a distribution function that is convex up to a mode and
    concave after it differs from the empirical one by at most D. The algorithm of
    Hartigan and Hartigan (1985), section 4, narrows the modal interval: the greatest
    convex minorant of the sample in the interval and the least concave majorant are
    farthest apart at one of their corners; the next interval begins or ends there.

    Args:
      x: at least one finite number, in any order.

    Returns:
      The dip, from 1 / (2 n) to 1 / 4; a larger one tells of more than one mode.

    Raises:
      ValueError: `x` is empty, not of rank 1, or not finite.

    Example:
      >>> dip([1, 2, 3, 4]), round(dip([0, 1, 2, 97, 98, 99]), 3)
      (0.125, 0.245)
    """
    values = np.asarray(x, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"x must be finite numbers of shape [n], got shape {values.shape}"
            f"{'' if np.isfinite(values).all() else ' with NaN or infinity'}."
        )
    n = len(values)
    places, counts = np.unique(values, return_counts=True)
    # The empirical distribution function in counts, before and after each step.
    above = np.cumsum(counts).astype(np.float64)
    below = above - counts
    first, last, largest = 0, len(places) - 1, 1.0
    while first < last:
        part = slice(first, last + 1)
        low = _minorant(places[part], below[part])
        high = -_minorant(places[part], -above[part])
        apart = high - low
        # At a corner of one of the two, where it touches the sample.
        corners = _touches(low, below[part]) | _touches(high, above[part])
        at = int(np.where(corners, apart, -np.inf).argmax())
        if apart[at] <= largest:
            break
        # The modal interval: from a corner of the minorant to one of the majorant.
        touched_low = np.flatnonzero(_touches(low, below[part]))
        touched_high = np.flatnonzero(_touches(high, above[part]))
        begin = int(touched_low[touched_low <= at].max())
        end = int(touched_high[touched_high >= at].min())
        outside = [
            above[part][: begin + 1] - low[: begin + 1],
            high[end:] - below[part][end:],
        ]
        largest = max(largest, *(float(side.max()) for side in outside))
        if (begin, end) == (0, last - first):
            break
        first, last = first + begin, first + end
    return largest / (2 * n)


def dip_p_value(found: float, n: int) -> float:
    """Estimates the probability of a dip as large in a sample from one group.

    The table of quantiles is interpolated: the root of n times the dip, between levels,
    and the logarithm of n, between sizes. From 2,000 numbers on it hardly changes.

    Args:
      found: a dip, from `dip`.
      n: size of its sample, at least 1.

    Returns:
      A number in [0, 1]; a small one tells of more than one mode.

    Example:
      >>> round(dip_p_value(0.06, 100), 3), round(dip_p_value(0.03, 100), 3)
      (0.009, 0.793)
    """
    # Up to sizes of 4, all dips are the least one or near it.
    sizes = np.log(SIZES)
    size = np.clip(np.log(max(n, 1)), sizes[0], sizes[-1])
    quantiles = [
        np.interp(size, sizes, column) for column in zip(*QUANTILES, strict=True)
    ]
    scaled = np.sqrt(n) * found
    # Beyond the last level, the largest dip of all is never reached by chance.
    quantiles = [0.0, *quantiles, 1.1 * quantiles[-1]]
    return 1 - float(np.interp(scaled, quantiles, [0.0, *LEVELS, 1.0]))


def dip_p_values(
    z: Float[np.ndarray, "n e"],
    labels: Int[np.ndarray, " n"],
    places: Float[np.ndarray, "k e"],
    *,
    size_ratio: float = 2.0,
) -> Float[np.ndarray, "k k"]:
    """Tests each two clusters for being one, on the line between their centroids.

    Args:
      z: embeddings.
      labels: cluster of each.
      places: centroid of each cluster.
      size_ratio: of a cluster more than this many times as large as another, as many
        samples take part, those nearest to the other's centroid; at least 1.

    Returns:
      Symmetric p-values, 0 in the diagonal and for clusters without samples.
    """
    k = len(places)
    members = [z[labels == cluster] for cluster in range(k)]
    p = np.zeros((k, k))
    for i in range(k):
        for j in range(i):
            small, large = sorted((i, j), key=lambda it: len(members[it]))
            few, many = members[small], members[large]
            if not len(few):
                continue
            wanted = max(int(size_ratio * len(few)), LEAST_SAMPLES - len(few))
            if len(many) > wanted and len(many) > size_ratio * len(few):
                away = ((many - places[small]) ** 2).sum(axis=1)
                many = many[np.argsort(away, kind="stable")[:wanted]]
            line = places[i] - places[j]
            projected = np.concatenate([few, many]) @ line
            p[i, j] = p[j, i] = dip_p_value(dip(projected), len(projected))
    return p


def _touches(
    bound: Float[np.ndarray, " n"], steps: Float[np.ndarray, " n"]
) -> np.ndarray:
    """Tells where a bound touches the sample, up to rounding."""
    return np.abs(bound - steps) <= 1e-9 * max(1.0, np.abs(steps).max())


def _minorant(
    places: Float[np.ndarray, " n"], steps: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Computes the greatest convex minorant of points, at their places.

    Its slopes are the isotonic regression of the slopes between the points.
    """
    from sklearn.isotonic import isotonic_regression

    width = np.diff(places)
    slopes = isotonic_regression(np.diff(steps) / width, sample_weight=width)
    return steps[0] + np.concatenate([[0.0], np.cumsum(slopes * width)])
