"""Runs of the program of autoencoders, and the history that they leave."""

from programs import program as run_program
from programs import read_csv

from dec_jax.data.dataset import Dataset
from experiments import autoencoders

FILES = {"config.json", "results.json", "history.csv", "model.safetensors"}
OF_Z = {"active_fraction", "above_hundredth", "mean_z"}


def program(*arguments):
    """Runs the program in this process."""
    return run_program(autoencoders.main, *arguments)


def read_history(folder):
    """The columns of history.csv."""
    rows = read_csv(folder / "history.csv")
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def with_shape(x, image_shape=None, name="mine"):
    return Dataset(name, x, None, image_shape, name, 1.0)
