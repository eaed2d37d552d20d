"""Runs of the program of Aljalbout et al. on some digits, with tiny networks."""

import json

from programs import program as run_program

from dec_jax.runs.signals import Stop
from experiments import aljalbout

# 210 samples in batches of 100: the last batch of an epoch is a partial one.
N_SAMPLES, BATCH_SIZE = 210, 100
CONVOLUTIONS = [
    {"type": "Input", "output_shape": [1, 8, 8]},
    {
        "type": "Conv2D",
        "num_filters": 4,
        "filter_size": [3, 3],
        "non_linearity": "rectify",
    },
    {"type": "MaxPool2D*", "filter_size": [2, 2]},
    {
        "type": "Conv2D",
        "num_filters": 5,
        "filter_size": [3, 3],
        "non_linearity": "linear",
    },
]
DENSE = [
    {"type": "Input", "output_shape": [1, 8, 8]},
    {"type": "Dense", "num_units": 3, "non_linearity": "linear"},
]


def network_file(folder):
    """Three networks; a name that starts with "fc" has meant a fully connected one."""
    networks = [
        {"name": "dense", "layers": DENSE},
        {"name": "fc-not", "batch_size": BATCH_SIZE, "layers": CONVOLUTIONS},
        {"use_batch_norm": 1, "batch_size": BATCH_SIZE, "layers": CONVOLUTIONS},
    ]
    for network in networks:
        network["output_non_linearity"] = "linear"
    path = folder / "tiny.json"
    path.write_text(json.dumps(networks))
    return path


def program(*arguments):
    """Runs the program in this process."""
    return run_program(aljalbout.main, *arguments)


def opened(*arguments):
    options = aljalbout.parser().parse_args([str(argument) for argument in arguments])
    return aljalbout.open_run(options, Stop())
