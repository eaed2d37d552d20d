"""The description of a network as JSON, changed and written to a file."""

import json

MINE = {
    "name": "mine",
    "batch_size": 32,
    "use_batch_norm": 1,
    "layers": [
        {"type": "Input", "output_shape": [2, 8, 9]},
        {
            "type": "Conv2D",
            "num_filters": 4,
            "filter_size": [3, 2],
            "non_linearity": "rectify",
        },
        {"type": "MaxPool2D", "filter_size": [2, 4]},
        {"type": "Dense", "num_units": 5, "non_linearity": "linear"},
    ],
}
INPUT, CONV, POOL, DENSE = MINE["layers"]


def with_layers(*layers, **fields):
    return MINE | {"layers": list(layers)} | fields


def without(description, name):
    return {key: value for key, value in description.items() if key != name}


def write(folder, text, name="mine.json"):
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path
