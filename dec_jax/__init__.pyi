"""Names that are importable from `dec_jax` itself; `__init__.py` loads them when used."""

from .clustering.assignment import (
    equidistant_centroids,
    hard_assignment,
    label_change,
    log_soft_assignment,
    log_softmax_assignment,
    match_cluster_sizes,
    soft_assignment,
    squared_distances,
    target_distribution,
)
from .clustering.consensus import (
    Consensus,
    consensus,
)
from .clustering.density_peaks import (
    density_clusters,
)
from .clustering.dip import (
    dip,
    dip_p_value,
)
from .clustering.hierarchy import (
    Hierarchy,
    cluster_hierarchy,
    cut_hierarchy,
)
from .clustering.kmeans import (
    KMeansResult,
    k_means,
    kmeans_plus_plus,
)
from .data.dataset import (
    Dataset,
)
from .data.load import (
    load_dataset,
)
from .data.texts import (
    dataset_from_texts,
)
from .estimator import (
    DeepEmbeddedClustering,
)
from .evaluation.comparison import (
    Comparison,
    compare_labels,
)
from .evaluation.density import (
    cvnn,
    dbcv,
)
from .evaluation.metrics import (
    adjusted_rand_index,
    clustering_accuracy,
    normalized_mutual_info,
    purity,
)
from .evaluation.tree_purity import (
    dendrogram_purity,
)
from .networks.architecture import (
    Architecture,
    Conv2D,
    Deconv2D,
    Dense,
    MaxPool2D,
    Reshape,
    dense_architecture,
)
from .networks.architecture_json import (
    load_architecture,
)
from .networks.autoencoder import (
    decode,
    embed,
    encode,
    encode_distribution,
    init_params,
    reconstruct,
)
from .networks.own import (
    FunctionalNetwork,
)
from .objectives.acedec import (
    ACeDeC,
)
from .objectives.aec import (
    AEC,
)
from .objectives.base import (
    Batch,
    CentroidObjective,
    Losses,
)
from .objectives.dcn import (
    DCN,
)
from .objectives.dec import (
    DEC,
)
from .objectives.den import (
    DEN,
)
from .objectives.dkm import (
    DKM,
)
from .objectives.idec import (
    IDEC,
)
from .objectives.iic import (
    IIC,
)
from .objectives.imsat import (
    IMSAT,
)
from .objectives.joint import (
    AutoencoderObjective,
)
from .objectives.losses import (
    clustering_loss,
    kmeans_loss,
)
from .objectives.reconstruction import (
    MeanReconstruction,
    Reconstruction,
    Variational,
    reconstruction_loss,
    sample_vae,
)
from .objectives.vade import (
    VaDE,
)
from .recipes.adjust import (
    adjust_recipe,
)
from .recipes.dense import (
    make_recipe,
)
from .recipes.recipe import (
    DataShape,
    Recipe,
)
from .runs.callbacks import (
    Callbacks,
)
from .runs.fit import (
    FitResult,
    fit,
)
from .training.augmentation import (
    Augmentation,
    augment,
)
from .training.cluster import (
    assign,
    train,
    train_interval,
    train_step,
)
from .training.deepect import (
    DeepECTConfig,
    DeepECTResult,
    deepect,
)
from .training.dipdeck import (
    DipDECKConfig,
    DipDECKResult,
    dipdeck,
)
from .training.layerwise import (
    LayerwiseConfig,
    pretrain_layerwise,
)
from .training.optimizer import (
    Optimizer,
)
from .training.pretrain import (
    PretrainConfig,
    pretrain_end_to_end,
)
from .training.state import (
    History,
    SoftReset,
    TrainConfig,
    TrainResult,
    TrainState,
    init_state,
)

__version__: str

__all__ = [
    "fit",
    "FitResult",
    "DeepEmbeddedClustering",
    "Callbacks",
    "Recipe",
    "DataShape",
    "make_recipe",
    "adjust_recipe",
    "Dataset",
    "load_dataset",
    "dataset_from_texts",
    "Architecture",
    "Dense",
    "Conv2D",
    "Deconv2D",
    "MaxPool2D",
    "Reshape",
    "dense_architecture",
    "load_architecture",
    "FunctionalNetwork",
    "init_params",
    "encode",
    "encode_distribution",
    "decode",
    "reconstruct",
    "embed",
    "Augmentation",
    "augment",
    "Optimizer",
    "PretrainConfig",
    "pretrain_end_to_end",
    "LayerwiseConfig",
    "pretrain_layerwise",
    "MeanReconstruction",
    "Reconstruction",
    "Variational",
    "reconstruction_loss",
    "sample_vae",
    "Batch",
    "AutoencoderObjective",
    "CentroidObjective",
    "Losses",
    "KMeansResult",
    "k_means",
    "kmeans_plus_plus",
    "equidistant_centroids",
    "density_clusters",
    "dip",
    "dip_p_value",
    "consensus",
    "Consensus",
    "cluster_hierarchy",
    "cut_hierarchy",
    "Hierarchy",
    "squared_distances",
    "log_soft_assignment",
    "log_softmax_assignment",
    "soft_assignment",
    "target_distribution",
    "match_cluster_sizes",
    "hard_assignment",
    "label_change",
    "clustering_loss",
    "kmeans_loss",
    "DEC",
    "IDEC",
    "DCN",
    "DKM",
    "AEC",
    "ACeDeC",
    "DEN",
    "IMSAT",
    "IIC",
    "VaDE",
    "History",
    "TrainConfig",
    "SoftReset",
    "TrainResult",
    "TrainState",
    "init_state",
    "assign",
    "train",
    "train_interval",
    "train_step",
    "deepect",
    "DeepECTConfig",
    "DeepECTResult",
    "dipdeck",
    "DipDECKConfig",
    "DipDECKResult",
    "adjusted_rand_index",
    "clustering_accuracy",
    "normalized_mutual_info",
    "purity",
    "compare_labels",
    "Comparison",
    "dendrogram_purity",
    "dbcv",
    "cvnn",
]
