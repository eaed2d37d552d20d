"""Deep Embedded Clustering and its family in JAX, as pure functions.

In the order in which data flow: x -> z -> q -> p -> update. `recipes`, `model`,
`checkpoint`, `plots` and the other modules with pictures or files are imported as such.
"""

from dec_jax.architecture import (
    Architecture,
    Conv2D,
    Deconv2D,
    Dense,
    MaxPool2D,
    Reshape,
    dense_architecture,
)
from dec_jax.architecture_files import load_architecture
from dec_jax.assignment import (
    equidistant_centroids,
    hard_assignment,
    keep_shares,
    label_change,
    log_soft_assignment,
    soft_assignment,
    squared_distances,
    target_distribution,
)
from dec_jax.augment import Augmentation, augment
from dec_jax.autoencoder import (
    decode,
    embed,
    encode,
    encode_distribution,
    init_params,
    reconstruct,
)
from dec_jax.data import Dataset, load_dataset
from dec_jax.kmeans import KMeansResult, k_means, kmeans_plus_plus
from dec_jax.layerwise import LayerwiseConfig, pretrain_layerwise
from dec_jax.metrics import (
    adjusted_rand_index,
    clustering_accuracy,
    normalized_mutual_info,
    purity,
)
from dec_jax.objectives import DCN, DEC, IDEC, clustering_loss, kmeans_loss
from dec_jax.optimizer import Optimizer
from dec_jax.pretrain import PretrainConfig, pretrain_end_to_end
from dec_jax.reconstruction import (
    MeanReconstruction,
    Reconstruction,
    Variational,
    reconstruction_loss,
    sample,
)
from dec_jax.train import assign, train, train_interval, train_step
from dec_jax.train_state import (
    History,
    TrainConfig,
    TrainResult,
    TrainState,
    init_state,
)
from dec_jax.vade import VaDE

__version__ = "0.1.0"

__all__ = [
    # data
    "Dataset",
    "load_dataset",
    # network
    "Architecture",
    "Dense",
    "Conv2D",
    "Deconv2D",
    "MaxPool2D",
    "Reshape",
    "dense_architecture",
    "load_architecture",
    "init_params",
    "encode",
    "encode_distribution",
    "decode",
    "reconstruct",
    "embed",
    # pretraining
    "Augmentation",
    "augment",
    "Optimizer",
    "LayerwiseConfig",
    "MeanReconstruction",
    "PretrainConfig",
    "Reconstruction",
    "Variational",
    "pretrain_end_to_end",
    "pretrain_layerwise",
    "reconstruction_loss",
    "sample",
    # centroids
    "KMeansResult",
    "k_means",
    "kmeans_plus_plus",
    "equidistant_centroids",
    # q and p
    "squared_distances",
    "log_soft_assignment",
    "soft_assignment",
    "target_distribution",
    "keep_shares",
    "hard_assignment",
    "label_change",
    # objectives
    "DCN",
    "DEC",
    "IDEC",
    "VaDE",
    "clustering_loss",
    "kmeans_loss",
    # training
    "History",
    "TrainConfig",
    "TrainResult",
    "TrainState",
    "assign",
    "init_state",
    "train",
    "train_interval",
    "train_step",
    # evaluation
    "adjusted_rand_index",
    "clustering_accuracy",
    "normalized_mutual_info",
    "purity",
]
