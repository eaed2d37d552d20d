"""The settings of a run, as its command and its config.json hold them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dec_jax.recipes.names import K_SEARCHES
from dec_jax.runs.errors import UsageError, check_least, flag
from dec_jax.runs.json_files import read_checked
from dec_jax.validation import near_path

# Options of a table or an array file that `load_dataset` takes by the same name.
TABLE_OPTIONS = (
    *("label_column", "id_column", "drop", "keep"),
    *("separator", "decimal", "encoding", "missing", "missing_value"),
)


@dataclass(frozen=True)
class Settings:
    """The options of a run that decide its result; None stands for "not given".

    Attributes:
      dataset: a name or path that `load_dataset` takes; None is MNIST, or the digits
        where MNIST cannot be had.
      recipe: a name; None is the default for such data.
      n_clusters: k; one of `K_SEARCHES` looks for it; None counts the classes.
      limit: takes a sample of this many rows.
      seeds: how many seeds.
      seed: the first one.
      vectorized: all seeds in one program.
      epochs, max_intervals, batch_size, learning_rate, precision, start, graph_rows, normalize,
        reseed_below: as `adjust_recipe` takes them; a precision of None is the faster one
        here.
      architecture: a name or a JSON file, in place of the recipe's network.
      retry: starts a phase again if it diverges, at a lower learning rate.
      pretrained: a path of an earlier run's autoencoder.
      image_size, image_mode, image_fit, features, encoder, labels_csv, folder_labels,
        skip_unreadable, label_column, names, id_column, drop, keep, separator, decimal,
        encoding, missing, missing_value: as `load_dataset` takes them.
      memory: bytes that the run may take, such as "4G"; samples of an .npy file that would
        take more are read as they are needed. None takes what is free.
      no_standardize: takes numbers as they are.
    """

    dataset: str | None = None
    recipe: str | None = None
    n_clusters: int | str | None = None
    limit: int | None = None
    seeds: int = 1
    seed: int = 0
    vectorized: bool = False
    epochs: int | None = None
    max_intervals: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    retry: bool = False
    architecture: str | None = None
    precision: str | None = None
    pretrained: str | None = None
    start: str | None = None
    graph_rows: int | None = None
    normalize: bool = False
    reseed_below: float | None = None
    image_size: int | list[int] | None = None
    image_mode: str | None = None
    image_fit: str = "crop"
    features: str | None = None
    encoder: str | None = None
    labels_csv: str | None = None
    folder_labels: bool = False
    skip_unreadable: bool = False
    label_column: str | None = None
    names: str | None = None
    id_column: str | None = None
    drop: list[str] | None = None
    keep: list[str] | None = None
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: str | None = None
    missing_value: list[str] | None = None
    memory: str | None = None
    no_standardize: bool = False

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of `load_dataset`."""
        names = (
            "image_size",
            "image_mode",
            "image_fit",
            "features",
            "encoder",
            "labels_csv",
            "folder_labels",
            "skip_unreadable",
            "names",
            *TABLE_OPTIONS,
        )
        return {
            **{name: getattr(self, name) for name in names},
            "standardize": not self.no_standardize,
        }

    @property
    def changes(self) -> dict[str, Any]:
        """Arguments of `choose_recipe` that change the recipe."""
        names = (
            "epochs",
            "max_intervals",
            "batch_size",
            "learning_rate",
            "precision",
            "start",
            "graph_rows",
            "normalize",
            "reseed_below",
        )
        return {name: getattr(self, name) for name in names}

    def as_json(self) -> dict[str, Any]:
        """The entry "command" of config.json."""
        return dataclasses.asdict(self)


def resolve(options: Mapping[str, Any]) -> Settings:
    """Joins the options that were given with those of a resumed run, or with defaults.

    Args:
      options: only those that were given.

    Returns:
      The settings.

    Raises:
      UsageError: options contradict each other, or the run to be resumed.
    """
    names = {field.name for field in dataclasses.fields(Settings)}
    given = {name: value for name, value in options.items() if name in names}
    if "resume" in options:
        return _resumed(Path(options["resume"]), given, "out" in options)
    numbers = ["seeds", "epochs", "max_intervals", "batch_size", "limit", "graph_rows"]
    check_least(given, **dict.fromkeys(numbers, 1), seed=0)
    if given.get("n_clusters") not in K_SEARCHES:
        check_least(given, n_clusters=2)
    settings = Settings(**given)
    if settings.vectorized and settings.seeds < 2:
        raise UsageError(
            f"--vectorized needs --seeds of 2 or more, got {settings.seeds}."
        )
    if settings.vectorized and settings.retry:
        raise UsageError(
            "--retry needs seeds that run one after the other; leave --vectorized out."
        )
    if settings.seed + settings.seeds > 2**32:
        raise UsageError(f"--seed must be below 2^32, got {settings.seed}.")
    return settings


def _resumed(folder: Path, given: dict[str, Any], names_out: bool) -> Settings:
    """The settings of an earlier run, which those given now must equal."""
    if names_out:
        raise UsageError("--out and --resume name two folders; give only --resume.")
    stored = settings_of(read_config(folder), folder / "config.json")
    for name, value in given.items():
        before = getattr(stored, name)
        if value != before:
            # Clustering for longer starts again, but not its pretraining.
            keeping = f" with --pretrained {folder}" * (name == "max_intervals")
            raise UsageError(
                f"--resume {folder}: that run has {flag(name)} {before}, not {value}; "
                f"leave the option out, or start a new run{keeping}."
            )
    return stored


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the config.json of a run.

    Raises:
      UsageError: there is none, or it is damaged.
    """
    path = folder / "config.json"
    if not folder.exists():
        raise UsageError(f"--resume {folder}: there is no such run{near_path(folder)}")
    if not path.exists():
        raise UsageError(
            f"--resume {folder}: there is no config.json in it, so it is not the folder "
            "of a run."
        )
    config = read_checked(path, "start a new run instead")
    settings_of(config, path)
    return config


def settings_of(config: Mapping[str, Any], path: Path) -> Settings:
    """Takes the settings from a config.json, which `path` names in a message.

    Raises:
      UsageError: they are not those of this version.
    """
    try:
        return Settings(**config["command"])
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"{path} must hold the options of dec-jax cluster of this version; start a "
            "new run instead."
        ) from error
