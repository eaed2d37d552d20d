import json
import os

import numpy as np
import pytest
from PIL import Image
from programs import program

from dec_jax.cli.main import main
from dec_jax.data.images import load_image_folder
from dec_jax.runs.json_files import write_checked


def sort(*arguments):
    """Runs `dec-jax sort` in this process."""
    return program(main, "sort", *arguments)


FILES = ("a/1.png", "b/1.png", "b/2.png", "c/3.png", "c/4.png")
CLUSTERS = (0, 0, 1, 1, 10)


def write_labels(path, files=FILES, clusters=CLUSTERS, classes=None):
    rows = ["index,file,cluster,q" + (",class" if classes else "")]
    for index, (file, cluster) in enumerate(zip(files, clusters, strict=True)):
        end = f",{classes[index]}" if classes else ""
        rows.append(f"{index},{file},{cluster},0.9{end}")
    path.write_text("\n".join(rows) + "\n")


@pytest.fixture
def photos(tmp_path):
    """Five images in three folders, each of a gray of its own."""
    folder = tmp_path / "photos"
    for gray, file in enumerate(FILES):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), gray).save(folder / file)
    return folder


@pytest.fixture
def done(tmp_path, photos):
    """The folder of a run on these images."""
    run = tmp_path / "run"
    run.mkdir()
    write_labels(run / "labels.csv")
    write_checked(run / "results.json", {"dataset_path": str(photos)})
    return run


@pytest.fixture
def into(tmp_path):
    return tmp_path / "sorted"


def contents(folder):
    """All files below a folder, and the gray of each."""
    return {
        str(file.relative_to(folder)): int(np.asarray(Image.open(file))[0, 0])
        for file in folder.rglob("*.png")
    }


SORTED = {
    "cluster-00-with-2-files/a-1.png": 0,
    "cluster-00-with-2-files/b-1.png": 1,
    "cluster-01-with-2-files/2.png": 2,
    "cluster-01-with-2-files/3.png": 3,
    "cluster-10-with-1-file/4.png": 4,
}


def test_each_cluster_gets_a_folder_and_the_source_stays(done, photos, into):
    before = contents(photos)
    ran = sort(done, "--into", into)
    assert (ran.status, ran.err) == (0, "")
    assert contents(into) == SORTED
    assert contents(photos) == before
    assert ran.out.splitlines() == [
        f"{into}/cluster-00-with-2-files: 2 files",
        f"{into}/cluster-01-with-2-files: 2 files",
        f"{into}/cluster-10-with-1-file: 1 file",
        f"copied 5 of 5 files into {into}",
    ]


def test_a_second_call_adds_nothing(done, into):
    sort(done, "--into", into)
    stamps = {file: file.stat().st_mtime_ns for file in into.rglob("*")}
    ran = sort(done, "--into", into)
    assert ran.out.splitlines()[-1] == (
        f"copied 0 of 5 files into {into}, 5 were there already"
    )
    assert {file: file.stat().st_mtime_ns for file in into.rglob("*")} == stamps


def test_only_some_clusters_are_sorted(done, into):
    assert sort(done, "--into", into, "--only", "10, 1").status == 0
    assert contents(into) == {
        name: gray for name, gray in SORTED.items() if "cluster-00" not in name
    }


def test_links_lead_to_the_images(done, photos, into):
    ran = sort(done, "--into", into, "--link")
    assert ran.out.splitlines()[-1] == f"linked 5 of 5 files into {into}"
    assert contents(into) == SORTED
    link = into / "cluster-10-with-1-file/4.png"
    assert link.is_symlink()
    assert link.resolve() == (photos / "c/4.png").resolve()
    again = sort(done, "--into", into, "--link")
    assert again.out.splitlines()[-1].endswith("5 were there already")


def test_a_file_of_another_content_is_kept(done, into):
    target = into / "cluster-10-with-1-file/4.png"
    target.parent.mkdir(parents=True)
    target.write_text("kept")
    ran = sort(done, "--into", into)
    assert target.read_text() == "kept"
    line = "warning: 1 file left out, as another file has the name: c/4.png\n"
    assert (ran.status, ran.err) == (0, line)


def test_missing_files_are_counted_and_named(done, photos, into):
    (photos / "b/2.png").unlink()
    ran = sort(done, "--into", into)
    assert (ran.status, ran.err) == (0, "warning: 1 file missing: b/2.png\n")
    assert ran.out.splitlines()[-1] == f"copied 4 of 5 files into {into}"


def test_nothing_is_taken_from_outside_of_the_folder(done, photos, into, tmp_path):
    Image.new("L", (2, 2), 99).save(tmp_path / "secret.png")
    (photos / "c/4.png").unlink()
    (photos / "c/4.png").symlink_to(tmp_path / "secret.png")
    files = ("../secret.png", str(tmp_path / "secret.png"), *FILES[2:])
    write_labels(done / "labels.csv", files)
    ran = sort(done, "--into", into)
    assert sorted(contents(into).values()) == [2, 3]
    assert ran.err.startswith("warning: 3 files left out, outside of the folder")


def test_names_that_only_a_number_tells_apart_do_not_collide(done, photos, into):
    for file in ("a-1.png", "A/1.png"):
        (photos / file).parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), 50 + len(file)).save(photos / file)
    write_labels(done / "labels.csv", (*FILES, "a-1.png", "A/1.png"), (0,) * 7)
    assert sort(done, "--into", into).status == 0
    assert len(contents(into)) == 7
    assert len({name.casefold() for name in contents(into)}) == 7


def test_purity_is_printed_where_there_are_classes(done, into):
    write_labels(done / "labels.csv", classes="xxyzz")
    assert "purity 0.800" in sort(done, "--into", into).out


def test_labels_of_predict_are_sorted_from_a_named_folder(done, photos, into, tmp_path):
    table = tmp_path / "new.csv"
    write_labels(table)
    assert sort(table, "--source", photos, "--into", into).status == 0
    assert contents(into) == SORTED


def test_the_chosen_seed_of_several_is_sorted(done, into, tmp_path):
    several = tmp_path / "several"
    several.mkdir()
    done.rename(several / "seed-4")
    ran = sort(several, "--into", into)
    assert_rejected(ran, f"{several} holds 1 seeds, of which none was chosen", into)
    (several / "summary.json").write_text(json.dumps({"chosen_seed": 4}))
    assert sort(several, "--into", into).status == 0
    assert contents(into) == SORTED


# Mistakes: one line, status 2, nothing written.


def assert_rejected(ran, message, into):
    assert ran.status == 2
    assert ran.err.startswith(f"error: {message}"), ran.err
    assert ran.err.count("\n") == 1
    assert not list(into.rglob("*"))


def test_sort_rejects_a_folder_without_labels(tmp_path, into):
    message = f"{tmp_path} holds no labels.csv; give the folder of a run that came to"
    assert_rejected(sort(tmp_path, "--into", into), message, into)


def test_sort_rejects_labels_without_end(tmp_path, into):
    os.mkfifo(tmp_path / "labels.csv")
    message = f"{tmp_path}/labels.csv must be a labels.csv, got a device or a pipe."
    assert_rejected(sort(tmp_path / "labels.csv", "--into", into), message, into)


def test_sort_rejects_a_run_that_is_not_there(tmp_path, into):
    message = f"There is no run or model {tmp_path / 'none'}."
    assert_rejected(sort(tmp_path / "none", "--into", into), message, into)


def test_sort_rejects_a_run_on_a_table(done, into):
    (done / "labels.csv").write_text("index,cluster,q\n0,1,0.9\n")
    message = f"{done}/labels.csv names no files: only runs on a folder of images"
    assert_rejected(sort(done, "--into", into), message, into)


def test_sort_rejects_a_table_of_several_folders(done, photos, into):
    (done / "labels.csv").write_text("data,index,file,cluster,q\na,0,1.png,0,0.9\n")
    message = (
        f"{done}/labels.csv holds the files of several folders; let dec-jax predict"
    )
    assert_rejected(sort(done, "--into", into), message, into)


@pytest.mark.parametrize("row", ["0,a.png,one,0.9", "0,a.png", "0,a.png,-1,0.9"])
def test_sort_rejects_damaged_labels(done, into, row):
    (done / "labels.csv").write_text(f"index,file,cluster,q\n{row}\n")
    message = f"{done}/labels.csv is damaged: "
    assert_rejected(sort(done, "--into", into), message, into)


@pytest.mark.parametrize("only", ["3;7", "a", "", "-1", "1,"])
def test_sort_rejects_a_list_that_is_none(done, into, only):
    ran = sort(done, "--into", into, f"--only={only}")
    message = (
        f"--only must be numbers of clusters with commas, such as 3,7, got {only!r}"
    )
    assert_rejected(ran, message, into)


def test_sort_rejects_a_cluster_without_files(done, into):
    ran = sort(done, "--into", into, "--only", "1,2")
    message = "--only 1,2: no file is in cluster 2; clusters with files are 0, 1, 10."
    assert_rejected(ran, message, into)


def test_sort_rejects_a_folder_of_images_that_was_moved(done, photos, into):
    photos.rename(photos.with_name("moved"))
    message = f"The folder {photos} that was clustered is not there any more; name"
    assert_rejected(sort(done, "--into", into), message, into)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"dataset_path": null}'])
def test_sort_rejects_labels_whose_folder_is_unknown(done, into, content):
    (done / "results.json").write_text(content)
    message = f"{done}/labels.csv does not tell where its files lie; name their folder"
    assert_rejected(sort(done, "--into", into), message, into)


def test_sort_rejects_a_source_that_is_no_folder(done, into):
    ran = sort(done, "--into", into, "--source", done / "labels.csv")
    assert_rejected(ran, f"--source {done}/labels.csv is no folder.", into)


def test_sort_rejects_a_source_without_the_files(done, into, tmp_path):
    (tmp_path / "empty").mkdir()
    ran = sort(done, "--into", into, "--source", tmp_path / "empty")
    message = f"None of the 5 files is in {tmp_path / 'empty'}, such as a/1.png; name"
    assert_rejected(ran, message, into)


@pytest.mark.parametrize("inside", ["", "sorted"])
def test_sort_rejects_a_target_in_the_folder_of_images(done, photos, into, inside):
    ran = sort(done, "--into", photos / inside)
    message = f"--into {photos / inside} must not lie in {photos}, whose images it"
    assert_rejected(ran, message, into)
    assert len(contents(photos)) == 5


def test_sort_rejects_a_target_that_is_a_file(done, into, tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    assert_rejected(
        sort(done, "--into", file), f"--into {file} is no folder; name another.", into
    )
    assert file.read_text() == "kept"


def test_sort_rejects_a_folder_of_a_cluster_that_is_a_file(done, into):
    into.mkdir()
    (into / "cluster-00-with-2-files").write_text("kept")
    ran = sort(done, "--into", into)
    message = f"a/1.png cannot be put into {into}/cluster-00-with-2-files: "
    assert ran.status == 2
    assert ran.err.startswith(f"error: {message}")
    assert (into / "cluster-00-with-2-files").read_text() == "kept"


@pytest.mark.parametrize("name", ["run", "into", "source"])
def test_sort_rejects_a_path_with_a_zero_character(done, into, name):
    paths = {"run": done, "into": into, "source": done, name: "a\0b"}
    ran = sort(paths["run"], "--into", paths["into"], "--source", paths["source"])
    title = "RUN" if name == "run" else f"--{name}"
    message = (
        f"argument {title}: must be a path, got a zero character in it (see dec-jax"
    )
    assert_rejected(ran, message, into)


def test_sort_rejects_a_command_without_a_target(done):
    ran = sort(done)
    assert ran.status == 2
    assert "required: --into" in ran.err


def test_names_that_labels_csv_escapes_find_their_files(tmp_path, into):
    folder = tmp_path / "photos"
    folder.mkdir()
    odd = os.fsdecode(b"gr\xfcn\x1b.png")
    Image.new("L", (2, 2), 7).save(folder / odd)
    path = tmp_path / "labels.csv"
    write_labels(path, files=load_image_folder(folder).names, clusters=[0])
    run = sort(path, "--source", folder, "--into", into)
    assert (run.status, run.err) == (0, "")
    assert contents(into) == {r"cluster-0-with-1-file/gr\udcfcn\x1b.png": 7}
