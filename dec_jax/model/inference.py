"""One-file models: parameters, and all that it takes to use them on new data as in training.

A model is one `.safetensors` file. It holds the parameters under names such as
`encoder.dense_0.kernel`, the architecture with its input scaling, alpha, the versions it
was written with, the caller's metadata, and a checksum of all of it.
"""

import functools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.data.dataset import Dataset, columns_to_json
from dec_jax.model.arrays import check_arrays, flattened, nested
from dec_jax.model.file import ModelError, read_file, write_file
from dec_jax.networks import autoencoder
from dec_jax.networks.architecture import Architecture
from dec_jax.networks.architecture_json import (
    architecture_from_json,
    architecture_to_json,
)
from dec_jax.networks.autoencoder import Params, embed, rows_at_once
from dec_jax.objectives import DEC
from dec_jax.objectives.vade import VaDE
from dec_jax.parallel.row_blocks import map_blocks
from dec_jax.training.cluster import assign
from dec_jax.validation import check_samples

# How far above the range of training new data may reach before it is another unit.
CLEARLY_BEYOND = 1.5


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, and its clusters where it has any.

    Attributes:
      params: of the network, with "centroids" [k, d] unless it was only pretrained; with
        them it may lack a decoder.
      architecture: the network.
      alpha: degrees of freedom of the Student's t kernel, above 0; VaDE has none.
      metadata: where the model comes from, as JSON values; `data_metadata` gives the
        entries that new data are held against.
      versions: of dec_jax, jax and numpy that wrote the file; empty before `save`.

    Raises:
      ValueError: the parameters do not fit the architecture or are not finite; alpha
        is not finite and above 0.
    """

    params: Params
    architecture: Architecture
    alpha: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_arrays(flattened(self.params), self.architecture)
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha must be finite and above 0, got {self.alpha}.")

    @property
    def n_clusters(self) -> int | None:
        """Number of clusters k, or None for a network that was only pretrained."""
        return len(self.params["centroids"]) if "centroids" in self.params else None


# To a file and back.


def save(
    path: str | os.PathLike[str],
    params: Params,
    *,
    architecture: Architecture,
    alpha: float = 1.0,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model, whole or not at all; the same model always gives the same bytes.

    Args:
      path: the file, `model.safetensors` by custom; one that exists is replaced. Its
        folder is made if it is not there.
      params: of a `TrainState`, or of a pretrained autoencoder.
      architecture: the network that they belong to.
      alpha: degrees of freedom of the objective's Student's t kernel.
      metadata: whatever a reader should know (recipe, seed, names of clusters), as JSON
        values: text, finite numbers, lists, dicts with keys of text.

    Returns:
      The path.

    Raises:
      ValueError: the parameters do not fit the architecture or are not finite, alpha is
        out of range, or the metadata are no JSON.
      ImportError: safetensors is not installed.
      OSError: the file cannot be written.
    """
    model = Model(params, architecture, float(alpha), dict(metadata or {}))
    # Only now: dec_jax is complete by the time that a model is saved.
    from dec_jax import __version__

    description = {
        "architecture": architecture_to_json(architecture),
        "alpha": model.alpha,
        "versions": {
            "dec_jax": __version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
        },
        "metadata": model.metadata,
    }
    write_file(Path(path), flattened(params), description)
    return Path(path)


def load(path: str | os.PathLike[str]) -> Model:
    """Reads a model that `save` wrote, equal to it bit for bit.

    Args:
      path: the file.

    Returns:
      The model.

    Raises:
      FileNotFoundError: there is no such file.
      ModelError: the file is no safetensors file or a truncated one, was not written by
        `save`, has a newer format, a wrong checksum, or arrays that its architecture
        does not have.
      ImportError: safetensors is not installed.
    """
    path = Path(path)
    description, arrays = read_file(path)
    try:
        found = architecture_from_json(description["architecture"])
        return Model(
            nested(arrays, found.architecture),
            found.architecture,
            description["alpha"],
            dict(description["metadata"]),
            dict(description["versions"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be used: {error}") from error


# New data.


def predict(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n d"]
) -> Int[np.ndarray, " n"]:
    """The cluster of each sample: that of largest q.

    Args:
      model: from `load`, or made of trained parameters.
      x: samples, prepared as those that the model was trained on: bytes are scaled by
        the architecture's `input_scale`, floats are taken as they are.

    Returns:
      Labels from 0 to k - 1, int32; the samples of training get the labels that
      training ended with.

    Raises:
      TypeError, ValueError: the model has no centroids; `x` is not finite numbers of
        shape [n, d], has another width or other images than in training, or is plainly
        in other units.
    """
    x = samples_for(model, x)
    return np.asarray(_assign_to_centroids(model, x)[1])


def predict_proba(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n d"]
) -> Float[np.ndarray, "n k"]:
    """q, the soft assignment of each sample, by the method that the model was trained by.

    Bit for bit what training gave for the same samples on the same machine. q sharpens
    as training goes on: it ranks samples, and is no calibrated probability.

    Args:
      model: as in `predict`.
      x: samples, as in `predict`.

    Returns:
      q, float32, whose rows sum to 1.

    Raises:
      TypeError, ValueError: as in `predict`.
    """
    x = samples_for(model, x)
    return np.asarray(_assign_to_centroids(model, x)[0])


def transform(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n d"]
) -> Float[np.ndarray, "n e"]:
    """z, the embedding of each sample; the model may do without centroids.

    Args:
      model: as in `predict`.
      x: samples, as in `predict`.

    Returns:
      z, float32.

    Raises:
      TypeError, ValueError: as in `predict`, centroids apart.
    """
    x = samples_for(model, x)
    return np.asarray(_embed(model.params, x, architecture=model.architecture))


def reconstruct(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n d"]
) -> Float[np.ndarray, "n d"]:
    """x_hat, what the decoder makes of each sample's embedding.

    DEC leaves the decoder as pretraining left it while the encoder moves on; IDEC and
    DCN train both. A recipe's learner (`recipe.Recipe`) has none.

    Args:
      model: as in `predict`.
      x: samples, as in `predict`.

    Returns:
      x_hat, float32, in the units of the network's input (after `input_scale`).

    Raises:
      TypeError, ValueError: as in `predict`, centroids apart; the model has no decoder.
    """
    if "decoder" not in model.params:
        raise ValueError(
            "reconstruct needs a model with a decoder, and this one has none; the "
            "autoencoder.safetensors beside it has one."
        )
    x = samples_for(model, x)
    return np.asarray(_reconstruct(model.params, x, architecture=model.architecture))


def data_metadata(dataset: Dataset) -> dict[str, Any]:
    """What a model should remember of its data: the metadata that new data must match.

    Args:
      dataset: that the model was trained on.

    Returns:
      `dataset` (its name), `dataset_sha256`, `n_samples`, `input_dtype`, `input_range`
      (least and largest value), `image_shape` (None for a table), `columns` (of a table
      that was read by `load_table`, else None) and `deviation` (what the numbers of a
      file were divided by), as JSON values.
    """
    shape = dataset.image_shape
    return {
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
        "n_samples": len(dataset.x),
        "input_dtype": str(dataset.x.dtype),
        "input_range": [float(dataset.x.min()), float(dataset.x.max())],
        "image_shape": None if shape is None else list(shape),
        "columns": columns_to_json(dataset.columns),
        "deviation": dataset.deviation,
    }


def samples_for(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n d"]
) -> Num[Array | np.ndarray, "n d"]:
    """The samples themselves, once they are known to be as in training."""
    if isinstance(x, Dataset):
        trained_on = tuple(model.metadata.get("image_shape") or ())
        if trained_on and x.image_shape and trained_on != x.image_shape:
            raise ValueError(
                f"x must hold images of shape {trained_on}, as in training, got "
                f"{x.image_shape}."
            )
        x = in_units_of_training(model, x)
    check_samples(x)
    width = model.architecture.input_dim
    if x.shape[1] != width:
        raise ValueError(
            f"x must have {width} columns, as in training, got shape {tuple(x.shape)}."
        )
    check_units(model, x)
    return x


def in_units_of_training(model: Model, dataset: Dataset) -> np.ndarray:
    """x of a file as training had it: a file's own deviation is not that of training."""
    deviation = model.metadata.get("deviation", 1.0)
    if dataset.deviation == deviation:
        return dataset.x
    factor = dataset.deviation / deviation
    if model.metadata.get("input_dtype") == "uint8":
        factor *= model.architecture.input_scale  # bytes that were saved as floats
    return (dataset.x * factor).astype(np.float32)


def check_units(model: Model, x: Num[Array | np.ndarray, "n d"]) -> None:
    """Raises ValueError for bytes that come as floats, or the other way round.

    Only for what cannot be meant: the model remembers the type and range it was trained
    on, and the new values are far outside.
    """
    dtype = model.metadata.get("input_dtype")
    scale = model.architecture.input_scale
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
    deviation = model.metadata.get("deviation", 1.0)
    # Training had numbers of about 1: which of two units that are far apart is nearer?
    if max(deviation, 1 / deviation) > 4 and (
        (np.mean(np.square(x, dtype=np.float64)) > deviation) == (deviation > 1)
    ):
        raise ValueError(
            f"x must be as in training, divided by {deviation:.4g}, {found}; divide it, or "
            "give the Dataset that load_dataset makes of a file."
        )
    least_trained, most_trained = model.metadata.get("input_range", (-math.inf, 0))
    in_unit = least_trained >= 0 and most_trained <= 1
    if x.dtype == np.uint8 and in_unit and high * scale > CLEARLY_BEYOND:
        raise ValueError(
            f"x must be as in training, {dtype} from {least_trained:g} to "
            f"{most_trained:g}, {found}; use x / 255 if that is what training had."
        )


# The same programs as in training, so that their numbers are the same.
_assign = jax.jit(assign, static_argnames=("architecture", "objective"))
_embed = jax.jit(embed, static_argnames="architecture")


def _assign_to_centroids(
    model: Model, x: Num[Array | np.ndarray, "n d"]
) -> tuple[Float[Array, "n k"], Int[Array, " n"]]:
    if model.n_clusters is None:
        raise ValueError(
            "The model has no centroids, because it was saved before clustering; only "
            "transform and reconstruct take it."
        )
    # q is all that is asked of the method, and the arrays say how it comes from z.
    mixture = "log_variances" in model.params
    objective = VaDE() if mixture else DEC(alpha=model.alpha)
    return _assign(
        model.params, x, architecture=model.architecture, objective=objective
    )


@functools.partial(jax.jit, static_argnames="architecture")
def _reconstruct(
    params: Params, x: Num[Array, "n d"], *, architecture: Architecture
) -> Float[Array, "n d"]:
    """x_hat of any number of samples, as many at a time as memory allows."""
    block = functools.partial(
        autoencoder.reconstruct, params, architecture=architecture
    )
    return map_blocks(block, x, block_size=rows_at_once(architecture))
