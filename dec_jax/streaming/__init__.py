"""Trains on data larger than memory, read in blocks ahead of need."""

from dec_jax.streaming.dataset import StreamedDataset, stream_dataset
from dec_jax.streaming.passes import assign, embed, k_means
from dec_jax.streaming.read_ahead import Reading
from dec_jax.streaming.sources import (
    ArrayRecordSource,
    ArraySource,
    ImageFolderSource,
    NpySource,
    Source,
    write_npy,
)
from dec_jax.streaming.training import init_state, pretrain, train

__all__ = [
    "ArrayRecordSource",
    "ArraySource",
    "ImageFolderSource",
    "NpySource",
    "Reading",
    "Source",
    "StreamedDataset",
    "assign",
    "embed",
    "init_state",
    "k_means",
    "pretrain",
    "stream_dataset",
    "train",
    "write_npy",
]
