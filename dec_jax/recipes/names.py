"""Names and descriptions of recipes, free of jax so that a command line can list them."""

from typing import NamedTuple


class Description(NamedTuple):
    """One line on a recipe's method, and one on the result to expect of it."""

    summary: str
    expected: str  # ACC on the 70,000 images of MNIST, unless it names other data


DESCRIPTIONS: dict[str, Description] = {
    "dec": Description(
        "DEC (Xie et al. 2016) after a short pretraining on augmented images",
        "MNIST-70k: ACC 0.960, the mean of seeds 0-4 (0.937 to 0.977), on one kind of CPU, "
        "while seed 0 reaches 0.844 on another kind, and there in bfloat16 seeds 5 and 6 "
        "0.977 and 0.912",
    ),
    "dec-paper": Description(
        "DEC with the layer-wise pretraining of the paper, 300,000 iterations",
        "MNIST-70k: ACC 0.871, the mean of seeds 0 and 1; 0.843 as published",
    ),
    "dec-keras": Description(
        "DEC with the settings of DEC-keras, without augmentation",
        "MNIST-70k: ACC 0.912 as published, the mean of 10 runs (0.830 to 0.964)",
    ),
    "idec": Description(
        "IDEC (Guo et al. 2017): DEC that keeps the decoder",
        "MNIST-70k: ACC 0.890, the mean of seeds 0-4 (0.870 to 0.949); 0.881 as published",
    ),
    "dcn": Description(
        "DCN (Yang et al. 2017): k-means and reconstruction trained together",
        "MNIST-70k: ACC 0.889, the mean of seeds 0-4 (0.869 to 0.939); 0.83 as published",
    ),
    "dec-brb": Description(
        "DEC with soft resets of the network (BRB, Miklautz et al. 2025), 400 epochs",
        "MNIST-70k: ACC 0.961 as published, the mean of 10 runs; not run here",
    ),
    "idec-brb": Description(
        "IDEC with soft resets of the network (BRB, Miklautz et al. 2025), 400 epochs",
        "MNIST-70k: ACC 0.942 as published, the mean of 10 runs; not run here",
    ),
    "dcn-brb": Description(
        "DCN with soft resets of the network (BRB, Miklautz et al. 2025), 400 epochs",
        "MNIST-70k: ACC 0.964 as published, the mean of 10 runs; not run here",
    ),
    "kld-conv": Description(
        "IDEC with a convolutional network (Aljalbout et al. 2018)",
        "MNIST-70k: ACC 0.909, the mean of seeds 0 and 1; 0.859 as published. "
        "COIL-20: 0.774, the mean of seeds 0-4; 0.762 as published",
    ),
    "kmeans-conv": Description(
        "DCN with a convolutional network (Aljalbout et al. 2018)",
        "MNIST-70k: ACC 0.884 for seed 0; 0.781 as published. "
        "COIL-20: 0.777, the mean of seeds 0-4; 0.745 as published",
    ),
    "dec-da": Description(
        "DEC with data augmentation (Guo et al. 2018), 500 epochs of pretraining",
        "MNIST-70k: ACC 0.983, the mean of seeds 0-4 (0.982 to 0.983), in bfloat16",
    ),
    "idec-da": Description(
        "IDEC with data augmentation (Guo et al. 2018), 500 epochs of pretraining",
        "MNIST-70k: ACC 0.985, the mean of seeds 2-4 (0.983 to 0.986); 0.98 as published",
    ),
    "dec-da-conv": Description(
        "DEC with data augmentation and a convolutional network (Guo et al. 2018)",
        "MNIST-70k: ACC 0.985, NMI 0.960, as published",
    ),
    "dkm": Description(
        "DKM (Moradi Fard et al. 2020): k-means by gradients, and reconstruction",
        "digits: ACC 0.794, the mean of seeds 0-4 (0.786 to 0.801)",
    ),
    "aec": Description(
        "AEC (Song et al. 2013): reconstruction, and distance to the nearest centroid",
        "digits: ACC 0.794, the mean of seeds 0-2 (0.789 to 0.804)",
    ),
    "ace-dec": Description(
        "ACe/DeC (Miklautz et al. 2021): k-means in a learned part of z",
        "digits: ACC 0.785, the mean of seeds 0-2 (0.770 to 0.812)",
    ),
    "den": Description(
        "DEN (Huang et al. 2014): local neighborhoods and sparse groups of z, then k-means",
        "digits: ACC 0.759, the mean of seeds 0-2 (0.754 to 0.765). COIL-20: 0.725 as "
        "published",
    ),
    "imsat": Description(
        "IMSAT (Hu et al. 2017): mutual information, and a q that is locally smooth",
        "digits: ACC 0.916, the mean of seeds 0 and 1 (0.883 to 0.949). MNIST-70k: "
        "0.984 as published",
    ),
    "iic": Description(
        "IIC (Ji et al. 2019): mutual information of the clusters of two views",
        "digits: ACC 0.765 for seed 0. MNIST-70k: 0.984 as published, the mean of "
        "five heads",
    ),
    "vade": Description(
        "VaDE (Jiang et al. 2017): a variational autoencoder with a mixture as prior",
        "MNIST-70k: ACC 0.942 for seed 0; 0.945 as published",
    ),
    "n2d": Description(
        "N2D (McConville et al. 2020): UMAP and a Gaussian mixture, then learned",
        "MNIST-70k: ACC 0.982, the mean of seeds 0-4 (0.981 to 0.983); 0.979 as published",
    ),
    "best": Description(
        "Spectral clusters of z, learned by a convolutional network from augmented images",
        "MNIST-70k: ACC 0.986, the mean of seeds 0-4 (0.986 to 0.986), in bfloat16",
    ),
    "auto": Description(
        "the labels on which many simple methods agree, learned by a network; images as by best",
        "33 small tables: mean ACC 0.904, where k-means has 0.786 (benchmarks.quality); "
        "images: as best",
    ),
}
RECIPES = tuple(DESCRIPTIONS)
# Labelings of z that clustering can start from.
STARTS = ("k-means", "spectral", "umap", "judge")
# Ways to look for the number of clusters: scores of many numbers, as `choose-k` does; peaks
# of the density on a map (DDC); dip tests while a network learns (DipDECK).
K_SEARCHES = ("auto", "density", "dip")
# Number types of the network's matrix products.
PRECISIONS = ("float32", "bfloat16")
