"""Saves a trained model in one file, loads it, and applies it to new data."""

from dec_jax.model.export import export_program
from dec_jax.model.file import ModelError
from dec_jax.model.inference import (
    Model,
    UnlikeTraining,
    load,
    predict,
    predict_proba,
    reconstruct,
    save,
    transform,
)
from dec_jax.model.metadata import data_metadata

__all__ = [
    "Model",
    "ModelError",
    "UnlikeTraining",
    "data_metadata",
    "export_program",
    "load",
    "predict",
    "predict_proba",
    "reconstruct",
    "save",
    "transform",
]
