"""Writes a model as a StableHLO program, which needs no dec_jax to run.

jax alone loads it, on CPUs, CUDA GPUs and TPUs. It takes any number of samples, as they are
in their file, and returns labels, q and z.

    dec-jax export runs/digits-best                     # writes digits-best.stablehlo
    dec-jax export model.safetensors --out digits.stablehlo
"""

import argparse
import os
from pathlib import Path

from dec_jax.cli.options import typed_path
from dec_jax.runs.errors import UsageError, mistakes_of_use
from dec_jax.validation import near_path, shown

HELP = "write a model as a program that needs no dec_jax"
STOPPED_LINE = "Stopped; nothing was written."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    what = "folder of a run, or its model.safetensors"
    add("model", metavar="RUN", type=typed_path, help=what)
    add(
        "--out",
        metavar="FILE",
        type=typed_path,
        help="program to write, a file that does not exist yet (default: in this folder, "
        "digits-best.stablehlo for the run digits-best)",
    )


def run(options: argparse.Namespace) -> None:
    """Loads the model, and writes the program."""
    with mistakes_of_use():
        out = Path(options.out or default_out(options.model))
        if out.exists():
            raise UsageError(f"--out {out} exists already; name another file.")
        if not out.parent.is_dir():
            raise UsageError(
                f"--out {out}: the folder {out.parent} does not exist{near_path(out.parent)}"
            )
        # Only now, because they load jax.
        from dec_jax import model
        from dec_jax.runs import folder
        from dec_jax.writing import whole_file

        loaded = model.load(folder.file_of_run(Path(options.model), folder.MODEL))
        program = model.export_program(loaded)
        with whole_file(out) as partial:
            partial.write_bytes(program)
    print(shown(f"program: {out} ({len(program):,} bytes)"))


def default_out(model: str) -> str:
    """Names the program after the folder of the run, or after the file of the model.

    Example:
      >>> default_out("runs/digits-best"), default_out("digits.safetensors")
      ('digits-best.stablehlo', 'digits.stablehlo')
    """
    # "." and ".." have names too.
    path = Path(os.path.abspath(model))
    name = path.stem if path.suffix == ".safetensors" else path.name
    return f"{name}.stablehlo"
