"""Saves a trained model in one file, loads it, and applies it to new data."""

from dec_jax.model.file import ModelError
from dec_jax.model.inference import (
    Model,
    data_metadata,
    load,
    predict,
    predict_proba,
    reconstruct,
    save,
    transform,
)

__all__ = [
    "Model",
    "ModelError",
    "data_metadata",
    "load",
    "predict",
    "predict_proba",
    "reconstruct",
    "save",
    "transform",
]
