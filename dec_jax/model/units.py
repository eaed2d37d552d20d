"""The units of new samples: those of training, or a clear error."""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from dec_jax.data.dataset import Dataset
from dec_jax.validation import shortened

# New data may exceed the range of the training data by this factor; beyond it, they are
# taken to be in other units.
CLEARLY_BEYOND = 1.5


def in_units_of_training(
    metadata: Mapping[str, Any], scale: float, dataset: Dataset
) -> np.ndarray:
    """Rescales the numbers of a file by the training data's deviation, not its own."""
    own = np.asarray(dataset.deviation)
    deviation = np.asarray(metadata.get("deviation", 1.0))
    if np.array_equal(own, deviation):
        return dataset.x
    # Divided as in training, so that its samples come back bit for bit.
    divisor = deviation / own
    if metadata.get("input_dtype") == "uint8":
        # Bytes that were saved as floats.
        divisor = divisor / scale
    return (dataset.x / divisor).astype(np.float32)


def check_width(
    metadata: Mapping[str, Any], width: int, x: Num[Array | np.ndarray, "n d"]
) -> None:
    """Raises ValueError, with what is known of training, unless x has `width` columns."""
    found = x.shape[1]
    if found == width:
        return
    name = metadata.get("dataset")
    data = f"the data {name!r} of training" if name else "the data of training"
    count = abs(found - width)
    much = f"{count} too {'many' if found > width else 'few'}"
    if columns := metadata.get("columns"):
        titles = [column["title"] for column in columns]
        raise ValueError(
            f"x must have the {width} columns that {data} became, from "
            f"{shortened(', '.join(titles))}, got {found}, {much}; give a table with these "
            "columns."
        )
    raise ValueError(f"x must have {width} columns, as {data}, got {found}, {much}.")


def check_units(
    metadata: Mapping[str, Any],
    scale: float,
    x: Num[Array | np.ndarray, "n d"],
    *,
    known: bool = False,
) -> None:
    """Raises ValueError for bytes that are given as floats, and for floats as bytes.

    The model stores the type and range of its training data. Values are refused only if
    they are far outside that range, and so cannot be meant. With `known`, the samples were
    brought to the units of training, and large values are what they are.
    """
    dtype = metadata.get("input_dtype")
    low, high = float(x.min()), float(x.max())
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    found = f"got {x.dtype} from {low:g} to {high:g}"
    if dtype == "uint8":
        largest = CLEARLY_BEYOND * 255 * scale if is_float else 255
        if high > largest or (low < 0 and not is_float):
            raise ValueError(
                "x must be as in training, bytes from 0 to 255 or floats from 0 to "
                f"{255 * scale:g}, {found}."
            )
        return
    scales = np.asarray(metadata.get("deviation", 1.0))
    deviation = float(np.sqrt(np.mean(scales**2)))
    # The training data were divided by `deviation`, so their mean square is about 1; that
    # of data in the original units is about deviation^2. The nearer of the two decides.
    if (
        not known
        and max(deviation, 1 / deviation) > 4
        and (np.mean(np.square(x, dtype=np.float64)) > deviation) == (deviation > 1)
    ):
        divisor = f"{deviation:.4g}"
        if scales.ndim:
            divisor = "one number a column (metadata['deviation'])"
        raise ValueError(
            f"x must be as in training, divided by {divisor}, {found}; divide it, or "
            "give the Dataset that load_dataset makes of a file."
        )
    least_trained, most_trained = metadata.get("input_range", (-math.inf, 0))
    in_unit = least_trained >= 0 and most_trained <= 1
    if x.dtype == np.uint8 and in_unit and high * scale > CLEARLY_BEYOND:
        raise ValueError(
            f"x must be as in training, {dtype} from {least_trained:g} to "
            f"{most_trained:g}, {found}; use x / 255 if that is what training had."
        )
