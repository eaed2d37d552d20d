"""TFDS, with tiny files of our own."""

import gzip
import hashlib
import io
import os
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from idx_files import (
    ALL_LABELS,
    ALL_PIXELS,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    idx_bytes,
    write_idx,
)

from dec_jax.data.load import load_dataset

REAL_DATA = Path(os.environ.get("DEC_JAX_DATA", "no folder"))


@pytest.fixture
def tiny_set(tmp_path):
    """The table of a tiny set, and the folder with its files."""
    tfds_sets = pytest.importorskip("dec_jax.data.tfds")
    folder = write_idx(tmp_path / "published")
    contents = [(folder / name).read_bytes() for name in tfds_sets.IDX_NAMES]
    config = tfds_sets.IdxConfig(
        name="tiny",
        url="http://127.0.0.1:9/",
        files=tuple((len(c), hashlib.sha256(c).hexdigest()) for c in contents),
        image_shape=(4, 3, 1),
    )
    return tfds_sets, config, folder


def assert_is_tiny_set(images, labels):
    np.testing.assert_array_equal(images.reshape(7, 12), ALL_PIXELS)
    np.testing.assert_array_equal(labels, ALL_LABELS)


def test_prepare_tfds_from_local_files_keeps_the_order_of_the_files(tiny_set):
    tfds_sets, config, folder = tiny_set
    tfds_sets.prepare_tfds(config, manual_dir=folder)
    images, labels, source = tfds_sets.load_tfds(config)
    assert images.shape == (7, 4, 3, 1)
    assert labels.dtype == np.int32
    assert_is_tiny_set(images, labels)
    assert source == "TFDS dec_jax_images/tiny/1.0.0"
    assert "tensorflow" not in sys.modules


def test_load_tfds_downloads_what_is_not_prepared(tiny_set, monkeypatch):
    tfds_sets, config, folder = tiny_set
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config.url = f"http://127.0.0.1:{server.server_port}/"
        images, labels, _ = tfds_sets.load_tfds(config)
        server.shutdown()
    assert_is_tiny_set(images, labels)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_load_tfds_fails_at_once_without_a_network(tiny_set):
    tfds_sets, config, _ = tiny_set
    start = time.perf_counter()
    with pytest.raises(OSError, match="ubyte.gz cannot be fetched .*Error"):
        tfds_sets.load_tfds(config)
    assert time.perf_counter() - start < 10


def test_prepare_tfds_rejects_a_file_that_is_not_the_published_one(tiny_set):
    tfds_sets, config, folder = tiny_set
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(TRAIN_LABELS), mtime=1))
    with pytest.raises(OSError, match="tiny: .*train-labels.* has wrong checksum"):
        tfds_sets.prepare_tfds(config, manual_dir=folder)


def test_prepare_tfds_names_the_nearest_set():
    tfds_sets = pytest.importorskip("dec_jax.data.tfds")
    with pytest.raises(ValueError, match="Unknown TFDS dataset 'mnits'; .* 'mnist'"):
        tfds_sets.prepare_tfds("mnits")


def test_prepare_tfds_rejects_a_missing_folder(tiny_set, tmp_path):
    tfds_sets, config, _ = tiny_set
    with pytest.raises(FileNotFoundError, match="manual_dir must name .*nowhere"):
        tfds_sets.prepare_tfds(config, manual_dir=tmp_path / "nowhere")


def test_no_download_retries_restores_the_number_of_retries():
    tfds_sets = pytest.importorskip("dec_jax.data.tfds")
    before = tfds_sets.downloader.MAX_RETRIES
    with tfds_sets.no_download_retries():
        assert tfds_sets.downloader.MAX_RETRIES == 0
    assert before == tfds_sets.downloader.MAX_RETRIES


def test_load_dataset_reads_the_mnist_that_tfds_itself_prepared(tmp_path):
    pytest.importorskip("dec_jax.data.tfds")
    prepare_like_tfds(tmp_path / "tfds")
    dataset = load_dataset("mnist")
    assert dataset.source == "TFDS mnist/3.0.1, in the order of its records"
    assert dataset.image_shape == (4, 3, 1)
    # Records are shuffled within each part, hence compared in sorted order.
    for part in (slice(0, 5), slice(5, 7)):
        found = sorted(zip(dataset.x[part].tolist(), dataset.labels[part], strict=True))
        expected = sorted(zip(ALL_PIXELS[part].tolist(), ALL_LABELS[part], strict=True))
        assert found == expected


def prepare_like_tfds(folder):
    """Writes what TFDS's own mnist writes: PNG images, and no place in the files."""
    import tensorflow_datasets as tfds
    from PIL import Image

    def png(image):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        return file.getvalue()

    def examples(images, labels):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": png(image), "label": int(label)}

    class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "mnist"
        VERSION = tfds.core.Version("3.0.1")

        def _info(self):
            image = tfds.features.Image(shape=(4, 3, 1))
            label = tfds.features.ClassLabel(num_classes=10)
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {
                "train": examples(TRAIN_IMAGES, TRAIN_LABELS),
                "test": examples(TEST_IMAGES, TEST_LABELS),
            }

        def _generate_examples(self):
            raise NotImplementedError

    builder = Mnist(data_dir=folder, file_format="array_record")
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_config=config)


@pytest.mark.slow
@pytest.mark.skipif(
    not (REAL_DATA / "mnist").is_dir(), reason="no mnist in DEC_JAX_DATA"
)
def test_prepare_tfds_gives_mnist_bit_for_bit():
    tfds_sets = pytest.importorskip("dec_jax.data.tfds")
    tfds_sets.prepare_tfds("mnist", manual_dir=REAL_DATA / "mnist")
    dataset = load_dataset("mnist")
    assert dataset.source == "TFDS dec_jax_images/mnist/1.0.0"
    assert dataset.sha256 == load_dataset("mnist", REAL_DATA).sha256
