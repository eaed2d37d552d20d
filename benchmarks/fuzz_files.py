"""Valid files of each kind, for `benchmarks.fuzz` to change."""

import gzip
import io
import json
import struct
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS = {"seed": 0, "rates": [0.1, 0.2]}  # of the checkpoint


def npy_bytes(array: Any) -> bytes:
    """Makes the content of an npy file."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz_bytes(**arrays: Any) -> bytes:
    """Makes the content of an npz file."""
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def sparse_bytes(x: Any) -> bytes:
    """Makes the content of the file of a sparse matrix."""
    import scipy.sparse

    out = io.BytesIO()
    scipy.sparse.save_npz(out, scipy.sparse.csr_matrix(x))
    return out.getvalue()


def image_bytes(kind: str, pixels: Any) -> bytes:
    """Makes the content of an image file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def idx_bytes() -> bytes:
    """Makes the content of an IDX file of five images."""
    return struct.pack(">4I", 2051, 5, 4, 3) + bytes(range(60))


def model_bytes() -> bytes:
    """Makes the content of the file of a tiny model."""
    import jax

    import dec_jax as dj

    network = dj.dense_architecture(4, hidden=(3,), embedding_dim=2)
    params = dj.init_params(jax.random.key(0), network)
    model = dj.model.Model({**params, "centroids": jax.numpy.eye(2)}, network)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        dj.model.save(path, model)
        return path.read_bytes()


def parquet_bytes(x: Any) -> bytes:
    """Makes the content of a parquet table of numbers and texts."""
    import pandas as pd

    colors = ["red", "green"] * (len(x) // 2)
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(color=colors)
    return frame.to_parquet()


def h5ad_bytes(x: Any) -> bytes:
    """Makes the content of a file of cells."""
    import anndata

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # anndata sets an option of pandas that newer versions deprecate.
        warnings.simplefilter("ignore")
        path = Path(folder) / "x.h5ad"
        anndata.AnnData(x).write_h5ad(path)
        return path.read_bytes()


def onnx_bytes() -> bytes:
    """Makes the content of a network that gives the mean color of images of 8 x 8."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x", "axes"], ["z"], keepdims=0)],
        "mean color",
        [helper.make_tensor_value_info("x", kind, ["b", 3, 8, 8])],
        [helper.make_tensor_value_info("z", kind, ["b", 3])],
        [numpy_helper.from_array(np.array([2, 3]), "axes")],
    )
    opset = [helper.make_opsetid("", 18)]
    network = helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.checker.check_model(network)
    return network.SerializeToString()


def blank_state() -> dict[str, Any]:
    """Makes what the checkpoint holds."""
    import jax.numpy as jnp

    return {"w": jnp.ones((3, 2)), "step": jnp.int32(1)}


def write_checkpoint(folder: Path) -> dict[str, Any]:
    """Writes a checkpoint; returns its manifest, without what differs at each writing."""
    from dec_jax.runs import checkpoint

    made = checkpoint.save(
        *(folder, blank_state()),
        phase="train",
        step=1,
        settings=SETTINGS,
        progress={"losses": {"all": [2.0]}},
    )
    manifest = json.loads((made / checkpoint.MANIFEST).read_text())
    del manifest["files"]
    return manifest


def signed(manifest: dict[str, Any]) -> bytes:
    """Makes the content of a manifest with a checksum that is right."""
    from dec_jax.runs.json_files import checksum

    manifest.pop("manifest_sha256", None)
    return json.dumps({**manifest, "manifest_sha256": checksum(manifest)}).encode()


def manifest_bytes() -> bytes:
    """Makes the content of the manifest of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        return signed(write_checkpoint(Path(folder)))


def seeds() -> dict[str, tuple[str, bytes]]:
    """Makes a valid file of each kind: its name, and its content."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 3)).astype(np.float32)
    pixels = rng.integers(0, 256, (10, 9, 3), np.uint8)
    table = "id,size,color,when,price\n" + "".join(
        f"{i},{x[i, 0]:.3f},{['red', 'green'][i % 2]},2024-01-{i + 1:02},${i}.50\n"
        for i in range(12)
    )
    idx = idx_bytes()
    network = (
        '{"layers": [{"type": "Input", "output_shape": [4]}, {"type": "Dense", '
        '"num_units": 3, "non_linearity": "rectify"}, {"type": "Dense", "num_units": '
        '2, "non_linearity": "linear"}]}'
    )
    return {
        "npy": ("x.npy", npy_bytes(x)),
        "npz": ("x.npz", npz_bytes(x=x, y=np.arange(12) % 3)),
        "sparse": ("sparse.npz", sparse_bytes(np.maximum(x, 0))),
        "csv": ("x.csv", table.encode()),
        "tsv": ("x.tsv", table.replace(",", "\t").encode("utf-16")),
        "txt": ("x.txt", b"one short text\nanother text\nthe third one\n" * 4),
        "png": ("photos/a.png", image_bytes("PNG", pixels)),
        "jpeg": ("photos/a.jpg", image_bytes("JPEG", pixels)),
        "tiff": ("photos/a.tif", image_bytes("TIFF", pixels)),
        "gif": ("photos/a.gif", image_bytes("GIF", pixels[..., 0])),
        "bmp": ("photos/a.bmp", image_bytes("BMP", pixels)),
        "webp": ("photos/a.webp", image_bytes("WEBP", pixels)),
        "idx": ("mnist/train-images-idx3-ubyte", idx),
        "idx.gz": ("mnist/train-images-idx3-ubyte.gz", gzip.compress(idx, mtime=0)),
        "parquet": ("x.parquet", parquet_bytes(x)),
        "h5ad": ("x.h5ad", h5ad_bytes(x)),
        "onnx": ("network.onnx", onnx_bytes()),
        "checkpoint": ("saved/train-000000001/manifest.json", manifest_bytes()),
        "architecture": ("network.json", network.encode()),
        "model": ("model.safetensors", model_bytes()),
    }


def write_companions(path: Path) -> None:
    """Writes what a file is read with: arrays of a checkpoint, other files of MNIST, a photo."""
    if path.name == "network.onnx":
        photo = path.parent / "photos/a.png"
        photo.parent.mkdir(exist_ok=True)
        photo.write_bytes(image_bytes("PNG", np.zeros((10, 9, 3), np.uint8)))
    if path.name == "manifest.json":
        content = path.read_bytes()
        write_checkpoint(path.parents[1])
        path.write_bytes(content)
    if path.parent.name == "mnist":
        labels = struct.pack(">2I", 2049, 5) + bytes(5)
        for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
            (path.parent / name).write_bytes(labels)
        (path.parent / "t10k-images-idx3-ubyte").write_bytes(idx_bytes())
