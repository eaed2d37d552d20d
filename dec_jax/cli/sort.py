"""Sorts the images of a run into folders, one for each cluster.

The images are copied: the folder that was clustered stays as it is, and no file is ever
overwritten. A second call adds only what is not there yet.

    dec-jax sort runs/photos-best --into sorted
    dec-jax sort runs/photos-best --into sorted --only 3,7 --link
    dec-jax sort new_photos-labels.csv --source new_photos --into sorted  # of dec-jax predict
"""

import argparse
import csv
import filecmp
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dec_jax.cli.options import typed_path
from dec_jax.data.image_files import find_files
from dec_jax.runs.errors import UsageError
from dec_jax.validation import near_path, reason, shown

HELP = "sort images into a folder for each cluster"
STOPPED_LINE = "Stopped; the same command goes on."
NAMED = 5  # files that a line names; it counts the others


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add(
        "run",
        metavar="RUN",
        type=typed_path,
        help="folder of a run on a folder of images, or a labels.csv (with --source)",
    )
    what = "folder for the folders of the clusters; made if it does not exist"
    add("--into", metavar="DIR", type=typed_path, required=True, help=what)
    add("--only", metavar="K,K", help="sort only these clusters, such as 3,7")
    what = "make symbolic links to the images instead of copies"
    add("--link", action="store_true", help=what)
    what = "folder with the images (default: the one that was clustered)"
    add("--source", metavar="DIR", type=typed_path, help=what)


def run(options: argparse.Namespace) -> None:
    """Copies or links the images, and prints how many."""
    # Only now, because it loads jax.
    from dec_jax.runs.folder import LABELS, file_of_run

    path = file_of_run(Path(options.run), LABELS)
    names, clusters, classes = read_labels(path)
    chosen = chosen_clusters(options.only, clusters)
    source = source_folder(path, options.source)
    into = Path(options.into)
    check_into(into, source)
    targets = target_names(names)
    width = len(str(max(clusters)))
    sizes = Counter(clusters)
    done: Counter[str] = Counter()
    told: dict[str, list[str]] = {}
    found: Counter[int] = Counter()
    real = files_of(source, names)
    for name, cluster, target in zip(names, clusters, targets, strict=True):
        if cluster not in chosen:
            continue
        folder = into / folder_name(cluster, sizes[cluster], width)
        try:
            what = place(source, real[name], folder / target, link=options.link)
        except OSError as error:
            raise UsageError(
                f"{shown_name(name)} cannot be put into {folder}: {error.strerror}; "
                f"{done['new']:,} files were before it, and the same command goes on."
            ) from error
        done[what] += 1
        found[cluster] += what in ("new", "there")
        if what not in ("new", "there"):
            told.setdefault(what, []).append(shown_name(name))
    if not found.total():
        raise UsageError(
            f"None of the {done.total():,} files is in {source}, such as "
            f"{next(iter(told.values()))[0]}; name their folder by --source."
        )
    for cluster in sorted(chosen):
        if sizes[cluster]:
            place_of = folder_name(cluster, sizes[cluster], width)
            print(shown(f"{into / place_of}: {counted(found[cluster])}"))
    verb = "linked" if options.link else "copied"
    there = f", {done['there']:,} were there already" if done["there"] else ""
    total = f"{done.total():,}"
    print(shown(f"{verb} {done['new']:,} of {total} files into {into}{there}"))
    if classes is not None:
        print(f"purity {purity_of(classes, clusters):.3f}")
    for what, files in told.items():
        line = f"warning: {counted(len(files))} {what}: {listed(files)}"
        print(line, file=sys.stderr)


def read_labels(path: Path) -> tuple[list[str], list[int], list[str] | None]:
    """Reads file, cluster and, where there are any, class of each sample.

    Raises:
      UsageError: it is no labels.csv of images.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} must be a labels.csv, got a device or a pipe.")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from error
    if not rows or not {"file", "cluster"} <= set(rows[0]):
        raise UsageError(
            f"{path} names no files: only runs on a folder of images can be sorted."
        )
    if "data" in rows[0]:
        raise UsageError(
            f"{path} holds the files of several folders; let dec-jax predict write a table "
            "for each folder, and sort these."
        )
    try:
        names = [str(PurePosixPath(row["file"])) for row in rows]
        clusters = [int(row["cluster"]) for row in rows]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: {reason(error)}") from error
    if min(clusters) < 0:
        raise UsageError(f"{path} is damaged: cluster {min(clusters)} is below 0.")
    classes = [row["class"] for row in rows] if "class" in rows[0] else None
    return names, clusters, classes


def chosen_clusters(only: str | None, clusters: Sequence[int]) -> set[int]:
    """Reads the numbers of --only; all clusters without it.

    Raises:
      UsageError: it is no list of numbers, or names a cluster that has no file.

    Example:
      >>> chosen_clusters("3, 0", [0, 1, 3, 3])
      {0, 3}
    """
    present = set(clusters)
    if only is None:
        return present
    parts = [part.strip() for part in only.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(
            f"--only must be numbers of clusters with commas, such as 3,7, got {only!r}."
        )
    wanted = {int(part) for part in parts}
    if unknown := wanted - present:
        raise UsageError(
            f"--only {only}: no file is in cluster {min(unknown)}; clusters with files are "
            f"{listed([str(cluster) for cluster in sorted(present)], 20)}."
        )
    return wanted


def source_folder(labels: Path, given: str | None) -> Path:
    """Finds the folder that the names in labels.csv are relative to.

    Raises:
      UsageError: it is unknown, or not there.
    """
    if given is not None:
        folder = Path(given)
        if not folder.is_dir():
            raise UsageError(f"--source {given} is no folder{near_path(given)}")
        return folder.resolve()
    from dec_jax.runs.json_files import read_checked

    try:
        results = read_checked(labels.with_name("results.json"), "give --source")
        known = results.get("dataset_path")
    except UsageError:
        known = None
    if not isinstance(known, str):
        raise UsageError(
            f"{labels} does not tell where its files lie; name their folder by --source."
        )
    if not Path(known).is_dir():
        raise UsageError(
            f"The folder {known} that was clustered is not there any more; name the "
            "folder that holds the images now by --source."
        )
    return Path(known).resolve()


def check_into(into: Path, source: Path) -> None:
    """Raises UsageError unless it is, or can become, a folder outside of the images."""
    there = into.resolve()
    if there == source or source in there.parents:
        raise UsageError(
            f"--into {into} must not lie in {source}, whose images it would add to; take "
            "another folder."
        )
    if os.path.lexists(into) and not into.is_dir():
        raise UsageError(f"--into {into} is no folder; name another.")


def files_of(source: Path, names: Sequence[str]) -> dict[str, str]:
    """Finds the files of names, in which labels.csv escapes control characters."""
    files = {name: name for name in names}
    if any("\\" in name for name in names):
        found = {shown(name): name for name in find_files(source).images}
        files |= {name: found[name] for name in names if name in found}
    return files


def target_names(names: Sequence[str]) -> list[str]:
    """Makes names for files of different folders that come to lie in one.

    A file keeps its name. Files of equal names get those of their folders before it, and a
    number if that is not enough. Upper and lower case count as equal, as on some systems.

    Example:
      >>> target_names(["a/1.png", "b/1.png", "b/2.png"])
      ['a-1.png', 'b-1.png', '2.png']
    """
    count = Counter(name.rpartition("/")[2].casefold() for name in names)
    taken: set[str] = {name for name, times in count.items() if times == 1}
    targets = []
    for name in names:
        short = name.rpartition("/")[2]
        if count[short.casefold()] == 1:
            targets.append(short)
            continue
        target, number = name.replace("/", "-"), 1
        stem, dot, ending = target.rpartition(".")
        while target.casefold() in taken:
            number += 1
            target = f"{stem}-{number}{dot}{ending}"
        taken.add(target.casefold())
        targets.append(target)
    return targets


def folder_name(cluster: int, size: int, width: int) -> str:
    """Names the folder of a cluster by its number and its size.

    Example:
      >>> folder_name(3, 214, 2)
      'cluster-03-with-214-files'
    """
    return f"cluster-{cluster:0{width}}-with-{size}-file{'s' * (size != 1)}"


def place(source: Path, name: str, target: Path, *, link: bool) -> str:
    """Copies or links one file.

    Args:
      source: the folder of the images, without links in its path.
      name: of the file, relative to it.
      target: the file to make.
      link: makes a symbolic link.

    Returns:
      "new", "there" if the target is the same file already, or the reason why nothing was
      done, as a warning counts it.

    Raises:
      OSError: the target cannot be written.
    """
    file = source / name
    if not file.is_file():
        return "missing"
    # The real place: neither ".." nor a link may lead out of the folder.
    file = file.resolve()
    if source not in file.parents:
        return "left out, outside of the folder of images"
    if os.path.lexists(target):
        same = target.is_file() and filecmp.cmp(file, target)
        return "there" if same else "left out, as another file has the name"
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(file)
        return "new"
    partial = target.with_name(f"{target.name}.partial")
    try:
        shutil.copy2(file, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return "new"


def purity_of(classes: Sequence[str], clusters: Sequence[int]) -> float:
    """Computes the share of files that are of their cluster's most common class."""
    from dec_jax.evaluation.metrics import purity

    return float(purity(list(classes), list(clusters)))


def counted(n: int) -> str:
    """Counts files in words."""
    return f"{n:,} file{'s' * (n != 1)}"


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """Lists the first names, and counts the others."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shown_name(name: str) -> str:
    """Escapes what a terminal would act upon."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)
