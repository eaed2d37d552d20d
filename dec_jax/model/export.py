"""A model as a StableHLO program, which only jax needs to run.

The program has the parameters in it. It takes samples as they are in their file, any number
of them, and gives their labels, q and z.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from dec_jax.clustering.assignment import hard_assignment
from dec_jax.data.dataset import Column, columns_from_json
from dec_jax.model.inference import Model
from dec_jax.networks.autoencoder import encode
from dec_jax.objectives.like import objective_like
from dec_jax.validation import require

PLATFORMS = ("cpu", "cuda", "tpu")
# Metadata that tell of samples which were made of texts or pictures, and the reason why a
# program cannot make them.
TEXTS = "the model was trained on texts, and a program takes numbers"
PICTURES = "the model was trained on {} of images, which are made before the network"


def export_program(model: Model) -> bytes:
    """Writes a model as a StableHLO program for CPUs, CUDA GPUs and TPUs.

    `jax.export.deserialize` loads it without this library. Its `call` takes the samples
    [n, ...] for any n and returns labels [n] int32, q [n, k] and z [n, e]. They are those of
    `predict`, `predict_proba` and `transform`, up to rounding: another number of threads
    adds in another order. Images are [n, h, w, c], in the type of training. Rows of a table
    are its columns as they are in the file, float32, with NaN where a value is missing.
    The checks of `predict` are not in the program.

    Args:
      model: with clusters.

    Returns:
      The serialized program.

    Raises:
      ValueError: the model has no clusters, or was trained on something else than numbers:
        on texts, categories or features of images.
      ImportError: flatbuffers is not installed.

    Example:
      >>> from dec_jax import dense_architecture, init_params
      >>> network = dense_architecture(4, hidden=(8,), embedding_dim=2)
      >>> params = init_params(jax.random.key(0), network)
      >>> model = Model({**params, "centroids": jnp.eye(2)}, network)
      >>> program = jax.export.deserialize(export_program(model))
      >>> labels, q, z = program.call(np.zeros((3, 4), np.float32))
      >>> labels.shape, q.shape, z.shape
      ((3,), (3, 2), (3, 2))
    """
    require("flatbuffers", extra="export", task="exporting a model")
    if model.n_clusters is None:
        raise ValueError(
            "The model has no centroids, because it was saved before clustering; export a "
            "model that was saved after it."
        )
    import jax.export

    shape, dtype, prepare, precise = _input_of(model)
    objective, network = objective_like(model.params, model.alpha), model.architecture

    def program(
        x: Num[Array, "n ..."],
    ) -> tuple[Int[Array, " n"], Float[Array, "n k"], Float[Array, "n e"]]:
        # Without the barrier, XLA computes with the parameters when it compiles, and rounds
        # in another way than where they are arguments.
        params, rows = jax.lax.optimization_barrier((model.params, prepare(x)))
        z = encode(params, rows, architecture=network)
        q = objective.assignment(params, z)
        return hard_assignment(q), q, z

    with precise:
        (n,) = jax.export.symbolic_shape("n")
        samples = jax.ShapeDtypeStruct((n, *shape), dtype)
        exported = jax.export.export(jax.jit(program), platforms=PLATFORMS)(samples)
    return bytes(exported.serialize())


Prepare = Callable[[Num[Array, "n ..."]], Num[Array, "n d"]]


def _input_of(
    model: Model,
) -> tuple[tuple[int, ...], Any, Prepare, AbstractContextManager]:
    """Finds shape and type of a sample, the way to the network, and its precision."""
    metadata, width = model.metadata, model.architecture.input_dim
    _check_numbers(model)
    columns = columns_from_json(metadata.get("columns"))
    deviation = np.asarray(metadata.get("deviation") or 1.0)
    image_shape = metadata.get("image_shape")
    shape = (width,) if image_shape is None else tuple(image_shape)
    dtype = jnp.float32

    def rows(x: Num[Array, "n ..."]) -> Num[Array, "n d"]:
        return x.reshape(x.shape[0], width)

    if columns is None and np.all(deviation == 1):
        known = jax.dtypes.canonicalize_dtype(metadata.get("input_dtype") or "float32")
        return shape, known, rows, nullcontext()
    if deviation.ndim == 0:
        # NumPy divides float32 by a float in float32.
        deviation = np.asarray(deviation, np.float32).astype(np.float64)

    # XLA multiplies by the inverse of a constant. In float64, that gives the quotients of
    # training, once they are rounded to float32.
    def converted(x: Num[Array, "n ..."]) -> Float[Array, "n d"]:
        x = (rows(x) if columns is None else x).astype(jnp.float64)
        if columns is not None:
            parts = [
                part for i, it in enumerate(columns) for part in _column(x[:, i], it)
            ]
            x = jnp.stack(parts, axis=1).astype(jnp.float32).astype(jnp.float64)
        return (x / deviation.reshape(1, -1)).astype(jnp.float32)

    if columns is not None:
        shape = (len(columns),)
    return shape, dtype, converted, jax.enable_x64(True)


def _check_numbers(model: Model) -> None:
    """Raises ValueError for a model whose samples a program cannot make of numbers."""
    reading = model.metadata.get("reading") or {}
    kinds = [name for name in ("features", "encoder") if reading.get(name)]
    if model.metadata.get("text_space"):
        raise ValueError(f"{TEXTS}; use dec-jax predict.")
    if kinds:
        kind = "features" if kinds[0] == "features" else "vectors"
        raise ValueError(f"{PICTURES.format(kind)}; use dec-jax predict.")
    for column in columns_from_json(model.metadata.get("columns")) or ():
        if column.categories is not None:
            raise ValueError(
                f"the column {column.title!r} holds categories, and a program takes numbers; "
                "use dec-jax predict, or train on the numeric columns alone (--drop)."
            )


def _column(values: Float[Array, " n"], made: Column) -> list[Float[Array, " n"]]:
    """Converts a column of numbers, as `data.columns.converted` does."""
    missing = jnp.isnan(values)
    x = (jnp.where(missing, made.fill or 0.0, values) - made.mean) / made.deviation
    if made.limit is not None:
        x = jnp.clip(x, -made.limit, made.limit)
    return [x, missing.astype(x.dtype)] if made.marked else [x]
