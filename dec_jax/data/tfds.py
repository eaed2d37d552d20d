"""MNIST and Fashion-MNIST through TensorFlow Datasets (TFDS), without TensorFlow.

Importing TFDS takes a second, so `dec_jax.data.named` imports this module only to use it.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import (
    checksums,
    download_manager,
    downloader,
    util,
)

from dec_jax.data.download import check_connection
from dec_jax.data.idx import read_idx_pair
from dec_jax.validation import check_choice, expanded, one_line

# Each record is a Python object; blocks bound how many exist at once.
RECORDS_PER_BLOCK = 10_000
IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclasses.dataclass(eq=False)
class IdxConfig(tfds.core.BuilderConfig):
    """Four IDX files, and their address.

    Attributes:
      url: prefix of the address of each of `IDX_NAMES`.
      files: the size in bytes and the sha256 of each of `IDX_NAMES`.
      image_shape: (height, width, channels).
    """

    url: str = ""
    files: tuple[tuple[int, str], ...] = ()
    image_shape: tuple[int, int, int] = (28, 28, 1)


# The addresses, sizes and sha256 that TFDS has registered for its own builders.
MNIST = IdxConfig(
    name="mnist",
    url="https://storage.googleapis.com/cvdf-datasets/mnist/",
    files=(
        (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
)
FASHION_MNIST = IdxConfig(
    name="fashion_mnist",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    files=(
        (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
)
CONFIGS = {"mnist": MNIST, "fashion_mnist": FASHION_MNIST}


class DecJaxImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Images and labels, each with its index in the IDX files.

    TFDS's own builders read files with TensorFlow, and shuffle the records that they
    write. This builder needs no TensorFlow, and `index` restores the order.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = list(CONFIGS.values())

    @property
    def url_infos(self) -> dict[str, checksums.UrlInfo]:
        """Sizes and checksums that TFDS compares each file with, local or downloaded."""
        config = self.builder_config
        return {
            config.url + name: checksums.UrlInfo(
                size=size, checksum=sha256, filename=name
            )
            for name, (size, sha256) in zip(IDX_NAMES, config.files, strict=True)
        }

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Tensor(
                    shape=self.builder_config.image_shape, dtype=np.uint8
                ),
                "label": tfds.features.ClassLabel(num_classes=10),
                "index": tfds.features.Tensor(shape=(), dtype=np.int32),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        urls = [self.builder_config.url + name for name in IDX_NAMES]
        paths = [Path(path) for path in dl_manager.download(urls)]
        return {
            "train": self._generate_examples(paths[0], paths[1]),
            "test": self._generate_examples(paths[2], paths[3]),
        }

    def _generate_examples(self, images_path: Path, labels_path: Path) -> Iterator[Any]:
        images, labels = read_idx_pair(images_path, labels_path)
        images = images.reshape(len(images), *self.builder_config.image_shape)
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image, "label": int(label), "index": index}


def load_tfds(
    name: str | IdxConfig, data_dir: str | os.PathLike[str] | None = None
) -> tuple[np.ndarray, np.ndarray, str]:
    """Reads a set from TFDS's folder; downloads and prepares it first if need be.

    Args:
      name: `mnist`, `fashion_mnist`, or the `IdxConfig` of other files.
      data_dir: TFDS's folder; by default the one in TFDS_DATA_DIR, else TFDS's own.

    Returns:
      Images [n, h, w, c] uint8, labels [n] int32, and a line that names the copy that
      was read. Copies that `prepare_tfds` wrote have the order of the IDX files; copies
      that TFDS prepared have the order of their records.

    Raises:
      OSError: the set is not prepared and cannot be downloaded; one line.
    """
    builder = builder_of(name, data_dir)
    if not builder.is_prepared():
        stock = stock_builder(builder.builder_config.name, Path(builder.data_dir_root))
        if stock is not None:
            return read_builder(
                stock, f"TFDS {stock.info.full_name}, in the order of its records"
            )
        prepare_tfds(name, data_dir=data_dir)
        builder = builder_of(name, data_dir)
    return read_builder(builder, f"TFDS {builder.info.full_name}")


def prepare_tfds(
    name: str | IdxConfig,
    manual_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> None:
    """Writes a set into TFDS's folder, from local files if they exist, else downloads it.

    Args:
      name: `mnist`, `fashion_mnist`, or the `IdxConfig` of other files.
      manual_dir: a folder with the four IDX files, byte for byte as published;
        by default `downloads/manual` in TFDS's folder. Missing files are downloaded.
      data_dir: TFDS's folder; by default the one in TFDS_DATA_DIR, else TFDS's own.

    Raises:
      ValueError: an unknown name.
      FileNotFoundError: `manual_dir` does not exist.
      OSError: a file cannot be downloaded, or differs from the published one.
    """
    builder = builder_of(name, data_dir)
    config = builder.builder_config
    if manual_dir is None:
        folder = Path(builder.data_dir_root) / "downloads" / "manual"
    else:
        folder = expanded(manual_dir)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"manual_dir must name an existing folder, got {manual_dir}."
            )
    if not all((folder / file).is_file() for file in IDX_NAMES):
        # The labels of the test part are the smallest file.
        check_connection(config.url + IDX_NAMES[-1])
    try:
        # TFDS prints to stdout, where a caller may be writing results.
        with no_download_retries(), contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    manual_dir=folder if folder.is_dir() else None,
                    try_download_gcs=False,
                )
            )
    except download_manager.NonMatchingChecksumError as error:
        raise OSError(f"{config.name}: {one_line(error)}") from error
    except (util.DownloadError, requests.RequestException) as error:
        raise OSError(
            f"the download of {config.name} failed ({one_line(error)})"
        ) from error


def builder_of(
    name: str | IdxConfig, data_dir: str | os.PathLike[str] | None
) -> DecJaxImages:
    """Makes the builder of a set in TFDS's folder."""
    if isinstance(name, str):
        check_choice("TFDS dataset", name, CONFIGS)
        name = CONFIGS[name]
    # TFDS reads TFDS_DATA_DIR only when it is imported.
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or None
    return DecJaxImages(config=name, data_dir=folder, file_format="array_record")


def stock_builder(name: str, folder: Path) -> Any | None:
    """Finds the newest copy that TFDS itself prepared, or returns None.

    Only copies in array_record can be read without TensorFlow.
    """
    for info_path in sorted(folder.glob(f"{name}/*/dataset_info.json"), reverse=True):
        builder = tfds.builder_from_directory(info_path.parent)
        if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
            return builder
    return None


def read_builder(builder: Any, source: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Reads all records of a prepared builder, the training part first."""
    train_images, train_labels = read_split(builder.as_data_source(split="train"))
    test_images, test_labels = read_split(builder.as_data_source(split="test"))
    images = np.concatenate([train_images, test_images])
    labels = np.concatenate([train_labels, test_labels])
    return images, labels, source


def read_split(records: Any) -> tuple[np.ndarray, np.ndarray]:
    """Reads images and labels of one split, in the order of `index` if there is one."""
    blocks = []
    for start in range(0, len(records), RECORDS_PER_BLOCK):
        block = records.__getitems__(
            range(start, min(start + RECORDS_PER_BLOCK, len(records)))
        )
        columns = {
            name: np.stack([record[name] for record in block]) for name in block[0]
        }
        blocks.append(columns)
    images, labels = (
        np.concatenate([block[name] for block in blocks]) for name in ("image", "label")
    )
    if "index" in blocks[0]:
        order = np.argsort(np.concatenate([block["index"] for block in blocks]))
        images, labels = images[order], labels[order]
    return images, labels.astype(np.int32)


@contextlib.contextmanager
def no_download_retries() -> Iterator[None]:
    """Makes TFDS fail at once; without a network its ten retries take 204 s.

    TFDS has no public option for this. A release without the constant keeps its retries.
    """
    if not hasattr(downloader, "MAX_RETRIES"):
        yield
        return
    kept = downloader.MAX_RETRIES
    downloader.MAX_RETRIES = 0
    try:
        yield
    finally:
        downloader.MAX_RETRIES = kept
