"""Models in one file: saved, loaded, and applied to new data as in training.

A model is one `.safetensors` file. It holds the parameters under names such as
`encoder.dense_0.kernel`, the architecture with its input scaling, alpha, the versions
that wrote it, the caller's metadata, and a checksum over all of these.
"""

import functools
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.data.dataset import Dataset
from dec_jax.model.arrays import check_arrays, flattened, nested
from dec_jax.model.file import ModelError, read_file, write_file
from dec_jax.model.metadata import (
    check_metadata,
    data_metadata,
    outside_training,
    unsure,
)
from dec_jax.model.units import check_units, check_width, in_units_of_training
from dec_jax.networks import autoencoder
from dec_jax.networks.architecture import Architecture
from dec_jax.networks.architecture_json import (
    architecture_from_json,
    architecture_to_json,
)
from dec_jax.networks.autoencoder import (
    Params,
    embed,
    flatten_samples,
    rows_at_once,
)
from dec_jax.networks.own import Network
from dec_jax.objectives.like import objective_like
from dec_jax.parallel.row_blocks import map_blocks
from dec_jax.training.cluster import assign
from dec_jax.validation import check_samples


class UnlikeTraining(UserWarning):
    """New samples are unlike those of training, so that their clusters mean little."""


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, with its clusters if it has any.

    Attributes:
      params: of the network, with "centroids" [k, d] unless it was only pretrained. A
        model with centroids may lack a decoder.
      architecture: the network.
      alpha: degrees of freedom of the Student's t kernel, finite and above 0. VaDE does
        not use it.
      metadata: origin of the model, as JSON values. `data_metadata` gives the entries
        that new data are checked against.
      versions: of dec_jax, jax and numpy that wrote the file; empty before `save`.

    Raises:
      ValueError: the parameters do not fit the architecture or are not finite; alpha
        is not finite and above 0; an entry of `data_metadata` is out of its range.
    """

    params: Params
    architecture: Network
    alpha: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_arrays(flattened(self.params), self.architecture)
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha must be finite and above 0, got {self.alpha}.")
        check_metadata(self.metadata, self.architecture.input_dim)

    @property
    def n_clusters(self) -> int | None:
        """Number of clusters k, or None for a network that was only pretrained."""
        return len(self.params["centroids"]) if "centroids" in self.params else None


def save(
    path: str | os.PathLike[str],
    params: Params | Model,
    *,
    architecture: Network | None = None,
    alpha: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    dataset: Dataset | None = None,
) -> Path:
    """Writes a model to one file; the same model always gives the same bytes.

    The file is written as a whole: if writing fails, an existing file is unchanged.

    Args:
      path: the file, usually named `model.safetensors`. An existing file is replaced; a
        missing folder is created.
      params: a `Model`, such as `FitResult.model`, or the parameters of a `TrainState` or
        of a pretrained autoencoder.
      architecture: the network that parameters belong to; an `Architecture`, because
        the functions of a `FunctionalNetwork` cannot be written to a file.
      alpha: degrees of freedom of the objective's Student's t kernel; 1 by default.
      metadata: anything that a reader should know (recipe, seed, names of clusters), as
        JSON values: strings, finite numbers, lists, dictionaries with string keys.
      dataset: the training data, whose units, columns and range new data are then checked
        against. `FitResult.model` knows them.

    Returns:
      The path.

    Raises:
      TypeError: the network is missing or is not an `Architecture`; a `Model` was given
        together with a network or alpha.
      ValueError: the parameters do not fit the architecture or are not finite, alpha is
        out of range, or the metadata are not JSON.
      ImportError: safetensors is not installed.
      OSError: the file cannot be written.

    Example:
      >>> import pathlib, tempfile
      >>> import jax
      >>> from dec_jax import dense_architecture, init_params, model
      >>> network = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), network)
      >>> params["centroids"] = jax.numpy.eye(2)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "model.safetensors"
      ...     _ = model.save(path, params, architecture=network)
      ...     loaded = model.load(path)
      >>> loaded.n_clusters, loaded.architecture == network
      (2, True)
    """
    known = {} if dataset is None else data_metadata(dataset)
    if isinstance(params, Model):
        if architecture is not None or alpha is not None:
            raise TypeError(
                "architecture and alpha must not be given with a Model, which has them."
            )
        architecture, alpha = params.architecture, params.alpha
        known, params = {**params.metadata, **known}, params.params
    if not isinstance(architecture, Architecture):
        raise TypeError(
            "save needs an Architecture, because a file cannot hold functions, got "
            f"{type(architecture).__name__}; save its parameters by themselves, such as "
            "with numpy.savez, and make a Model of them and the network."
        )
    alpha = 1.0 if alpha is None else float(alpha)
    model = Model(params, architecture, alpha, {**known, **(metadata or {})})
    # `dec_jax` imports this module, so its version is not known before a model is saved.
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
    """Reads a model that `save` wrote; its arrays are equal bit for bit.

    Args:
      path: the file.

    Returns:
      The model.

    Raises:
      FileNotFoundError: there is no such file.
      ModelError: the file is not a safetensors file, is truncated, was not written by
        `save`, has a newer format or a wrong checksum, or holds arrays that do not fit
        its architecture.
      ImportError: safetensors is not installed.

    Example:
      >>> import tempfile
      >>> from dec_jax import dense_architecture, init_params
      >>> network = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), network)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = save(f"{folder}/autoencoder.safetensors", params, architecture=network)
      ...     loaded = load(path)
      >>> loaded.n_clusters is None, loaded.architecture == network
      (True, True)
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


def predict(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n ..."]
) -> Int[np.ndarray, " n"]:
    """Predicts the cluster of each sample, the one with the largest q.

    Args:
      model: from `load`, or made of trained parameters.
      x: samples, prepared as those that the model was trained on: rows [n, d], or images
        [n, h, w] or [n, h, w, c]. Bytes are scaled by the architecture's `input_scale`;
        floats are taken as they are.

    Returns:
      Labels from 0 to k - 1, int32. The samples of training get the labels that
      training ended with.

    Raises:
      TypeError, ValueError: the model has no centroids; `x` is not finite numbers, has
        another shape than in training, or is clearly in other units.

    Warns:
      UnlikeTraining: values lie far outside the range of training, or q is far less sure
        than it was; `data_metadata` made entries of the model that tell.

    Example:
      >>> import jax, numpy as np
      >>> from dec_jax import dense_architecture, init_params, model
      >>> network = dense_architecture(2, hidden=(), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), network)
      >>> params["encoder"]["dense_0"]["kernel"] = jax.numpy.eye(2)  # z = x
      >>> params["centroids"] = jax.numpy.array([[0.0, 0.0], [5.0, 5.0]])
      >>> x = np.array([[0.1, 0.0], [4.9, 5.0], [0.0, 0.2]], np.float32)
      >>> model.predict(model.Model(params, network), x).tolist()
      [0, 1, 0]
    """
    x = samples_for(model, x)
    return np.asarray(_assign_to_centroids(model, x)[1])


def predict_proba(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n ..."]
) -> Float[np.ndarray, "n k"]:
    """Computes q, the soft assignment, by the method that trained the model.

    The same samples on the same machine get the same q as in training, bit for bit. q
    sharpens during training: it ranks samples, but is not a calibrated probability.

    Args:
      model: as in `predict`.
      x: samples, as in `predict`.

    Returns:
      q, float32, whose rows sum to 1.

    Raises:
      TypeError, ValueError: as in `predict`.

    Example:
      >>> from dec_jax import dense_architecture, init_params, model
      >>> network = dense_architecture(2, hidden=(), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), network)
      >>> params["encoder"]["dense_0"]["kernel"] = jax.numpy.eye(2)  # z = x
      >>> params["centroids"] = jax.numpy.array([[0.0, 0.0], [3.0, 0.0]])
      >>> x = np.array([[0.0, 0.0], [1.5, 0.0]], np.float32)
      >>> print(model.predict_proba(model.Model(params, network), x).round(2))
      [[0.91 0.09]
       [0.5  0.5 ]]
    """
    x = samples_for(model, x)
    return np.asarray(_assign_to_centroids(model, x)[0])


def transform(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n ..."]
) -> Float[np.ndarray, "n e"]:
    """Embeds each sample; the model needs no centroids.

    Args:
      model: as in `predict`.
      x: samples, as in `predict`.

    Returns:
      z, float32.

    Raises:
      TypeError, ValueError: as in `predict`, except for centroids.

    Example:
      >>> from dec_jax import dense_architecture, init_params, model
      >>> network = dense_architecture(2, hidden=(), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), network)
      >>> params["encoder"]["dense_0"]["kernel"] = jax.numpy.eye(2)  # z = x
      >>> x = np.array([[0.0, 2.0]], np.float32)
      >>> model.transform(model.Model(params, network), x).tolist()
      [[0.0, 2.0]]
    """
    x = samples_for(model, x)
    return np.asarray(_embed(model.params, x, architecture=model.architecture))


def reconstruct(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n ..."]
) -> Float[np.ndarray, "n d"]:
    """Reconstructs each sample from its embedding.

    DEC trains the encoder alone, so that its decoder fits the pretrained encoder only.
    IDEC and DCN train both. Models of the recipes with a learner have no decoder.

    Args:
      model: as in `predict`.
      x: samples, as in `predict`.

    Returns:
      x_hat, float32, in the units of the network's input (after `input_scale`).

    Raises:
      TypeError, ValueError: as in `predict`, except for centroids; the model has no
        decoder.
    """
    if "decoder" not in model.params:
        raise ValueError(
            "reconstruct needs a model with a decoder, and this one has none; use the "
            "autoencoder.safetensors of the same run."
        )
    x = samples_for(model, x)
    return np.asarray(_reconstruct(model.params, x, architecture=model.architecture))


def samples_for(
    model: Model, x: Dataset | Num[Array | np.ndarray, "n ..."]
) -> Num[Array | np.ndarray, "n d"]:
    """Checks that samples are as in training, and flattens them to rows."""
    shape: tuple[int, ...]
    scale = model.architecture.input_scale
    known = isinstance(x, Dataset)
    lines = getattr(x, "lines", None)
    hint = ""
    if model.metadata.get("columns") and getattr(x, "columns", None) is None:
        hint = "; give the table itself if these are its numbers as they are"
    width = model.architecture.input_dim
    if isinstance(x, Dataset):
        check_width(model.metadata, width, x.x)
        shape, x = x.image_shape or (), in_units_of_training(model.metadata, scale, x)
    else:
        shape = tuple(getattr(x, "shape", ()))[1:]
    trained_on = tuple(model.metadata.get("image_shape") or ())
    if trained_on and len(shape) > 1 and trained_on not in (shape, (*shape, 1)):
        raise ValueError(
            f"x must hold images of shape {trained_on}, as in training, got {shape}."
        )
    if getattr(x, "ndim", 2) > 2:
        x = flatten_samples(x, model.architecture)
    check_samples(x)
    check_width(model.metadata, width, x)
    check_units(model.metadata, scale, x, known=known)
    if (text := outside_training(model.metadata, x, scale, lines)) is not None:
        _warn(text + hint)
    return x


def _warn(text: str) -> None:
    """Warns the caller of this module."""
    warnings.warn(text, UnlikeTraining, stacklevel=4)


# The programs of training, so that numbers are equal bit for bit.
_assign = jax.jit(assign, static_argnames=("architecture", "objective"))
_embed = jax.jit(embed, static_argnames="architecture")


def _assign_to_centroids(
    model: Model, x: Num[Array | np.ndarray, "n d"]
) -> tuple[Float[Array, "n k"], Int[Array, " n"]]:
    if model.n_clusters is None:
        raise ValueError(
            "The model has no centroids, because it was saved before clustering; use "
            "transform or reconstruct, or a model that was saved after it."
        )
    q, labels = _assign(
        model.params,
        x,
        architecture=model.architecture,
        objective=objective_like(model.params, model.alpha),
    )
    wrong = np.isnan(q).any(axis=1)
    if wrong.any():
        raise ValueError(
            f"x must have values that the network can compute with, got q of NaN in row "
            f"{int(wrong.argmax())} and {int(wrong.sum()) - 1} more; leave such rows out, or "
            "scale them as in training."
        )
    if (text := unsure(model.metadata, np.asarray(q))) is not None:
        _warn(text)
    return q, labels


@functools.partial(jax.jit, static_argnames="architecture")
def _reconstruct(
    params: Params, x: Num[Array, "n d"], *, architecture: Network
) -> Float[Array, "n d"]:
    """Reconstructs any number of samples, in blocks that fit into memory."""
    block = functools.partial(
        autoencoder.reconstruct, params, architecture=architecture
    )
    return map_blocks(block, x, block_size=rows_at_once(architecture))
