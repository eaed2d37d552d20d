"""Small encoders of images, for tests: an ONNX file and a module."""

import numpy as np

# The mean color of each image, and its size: from bytes to vectors of 3.
MODULE = """
import numpy as np

calls = []

def embed(images):
    calls.append(len(images))
    return np.array([np.asarray(image).mean(axis=(0, 1)) for image in images])

def sizes(images):
    return [[image.width, image.height] for image in images]

def broken(images):
    raise RuntimeError("out of luck")

def one_too_few(images):
    return np.zeros((len(images) - 1, 3))

def texts(images):
    return [[image.mode] for image in images]

def nan(images):
    return np.full((len(images), 2), np.nan)

value = 3
"""


def write_module(folder, name, text=MODULE):
    """Writes a module, whose name must differ from test to test."""
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def write_onnx(path, shape=("b", 3, 8, 8), *, kind="FLOAT", pooled=True, factor=1.0):
    """Writes a network that gives the mean color of each image, times a factor."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    last = shape[3] == 3
    nodes = [helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Mul", ["x", "factor"], ["scaled"]))
    result = "scaled"
    out_shape = list(shape)
    if pooled:
        axes = [1, 2] if last else [2, 3]
        nodes.append(
            helper.make_node("ReduceMean", ["scaled", "axes"], ["z"], keepdims=0)
        )
        result, out_shape = "z", [shape[0], 3]
    else:
        axes = []
    weights = [
        numpy_helper.from_array(np.float32(factor), "factor"),
        numpy_helper.from_array(np.array(axes, np.int64), "axes"),
    ]
    graph = helper.make_graph(
        nodes,
        "mean_color",
        [helper.make_tensor_value_info("images", getattr(TensorProto, kind), shape)],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, out_shape)],
        weights[: 1 + pooled],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path
