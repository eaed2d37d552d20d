import json
import re

import pytest

from experiments import collect_results

READMES = "\n".join(readme.read_text() for readme in collect_results.READMES)


@pytest.mark.parametrize("name", collect_results.TABLES)
def test_tables_of_the_readme_are_those_of_the_kept_results(name):
    _, block = READMES.split(f"<!-- {name}: begin -->\n")
    assert block.split(f"\n<!-- {name}: end -->")[0] == collect_results.TABLES[name]()


def test_main_makes_the_tables_between_their_marks(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    marks = "<!-- ranks: begin -->\n", "<!-- ranks: end -->\nafter\n"
    readme.write_text("before\n" + "old\n".join(marks))
    monkeypatch.setattr(collect_results, "READMES", (readme,))
    assert collect_results.main([]) == 0
    table = f"{collect_results.TABLES['ranks']()}\n"
    assert readme.read_text() == "before\n" + table.join(marks)


def test_every_kept_result_says_where_it_was_measured():
    for name, kept in collect_results.kept_results().items():
        assert kept["device"] and kept["versions"]["jax"] and kept["commit"], name
        if "seeds" in kept:
            lengths = {len(kept[score]) for score in ("seeds", "acc", "nmi", "ari")}
            assert len(lengths) == 1, name


def test_mean_sd_range_is_mean_sd_least_and_most():
    # Of 0.7, 0.8 and 0.9 the standard deviation is 0.1, by n - 1.
    assert (
        collect_results.mean_sd_range([0.7, 0.8, 0.9]) == "80.0 ± 10.0 (70.0 to 90.0)"
    )
    assert collect_results.mean_sd_range([0.7]) == "70.0"


@pytest.mark.parametrize(
    ("file", "content", "name"),
    [
        ("summary.json", {"recipe": "dec", "seeds": [3, 4]}, "digits-dec"),
        ("results.json", {"kind": "simple"}, "digits-autoencoder-simple"),
    ],
)
def test_keep_takes_the_numbers_and_the_picture(
    tmp_path, monkeypatch, file, content, name
):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path / "kept")
    run = tmp_path / "run"
    (run / "seed-3").mkdir(parents=True)
    (run / "seed-3" / "latent.png").write_bytes(b"picture")
    found = {"dataset": "digits", **content}
    (run / file).write_text(json.dumps(found))
    assert collect_results.keep(run) == tmp_path / "kept" / f"{name}.json"
    assert collect_results.kept_results() == {name: found}
    picture = tmp_path / "kept" / f"{name}-latent.png"
    assert picture.exists() == ("seeds" in content)


def test_a_folder_without_results_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(collect_results, "READMES", ())
    assert collect_results.main([str(tmp_path / "none")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(
        r"error: RUN must be the folder of a finished run, .*, got .*none\.\n", told.err
    )


def test_keep_makes_a_summary_of_a_run_of_one_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path / "kept")
    run = tmp_path / "run"
    run.mkdir()
    (run / "latent.png").write_bytes(b"picture")
    told = ("device", "versions", "precision", "commit", "n_samples")
    stage = {"name": "DEC", "acc": 0.9, "nmi": 0.8, "ari": 0.7}
    one = {"dataset": "digits", "recipe": "dec", **dict.fromkeys(told, "x")}
    one |= {"seed": 3, "stages": [stage], "seconds": {"total": 9}}
    (run / "results.json").write_text(json.dumps(one))
    collect_results.keep(run)
    kept = collect_results.kept_results()["digits-dec"]
    assert (kept["seeds"], kept["acc"], kept["seconds"]) == ([3], [0.9], [9])
    assert kept["stages"]["DEC"]["nmi"] == [0.8]
    assert (tmp_path / "kept" / "digits-dec-latent.png").exists()


SAME = ["python", "jax", "flax", "optax", "scipy"]
IDEC_STAGE = {"name": "IDEC", "acc": 0.9, "nmi": 0.9, "ari": 0.9}


def finished(folder, seed, acc, **other):
    """A run of one seed."""
    folder.mkdir()
    stage = {"name": "DEC", "acc": acc, "nmi": acc, "ari": acc}
    told = {"device": "a", "precision": "float32", "commit": f"c{seed}", "n_samples": 9}
    versions = {name: "1" for name in SAME} | {"numpy": f"{seed}"}
    one = {"dataset": "digits", "recipe": "dec", "versions": versions, **told}
    one |= {"seed": seed, "stages": [stage], "seconds": {"total": 60 * seed}, **other}
    (folder / "results.json").write_text(json.dumps(one))
    return folder


def test_add_joins_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path / "kept")
    # Nothing is kept yet: it is what keeping does.
    collect_results.keep(finished(tmp_path / "two", 2, 0.9), add=True)
    collect_results.keep(finished(tmp_path / "one", 1, 0.7), add=True)
    kept = collect_results.kept_results()["digits-dec"]
    # In the order of the seeds, whichever was run first.
    assert (kept["seeds"], kept["acc"], kept["seconds"]) == (
        [1, 2],
        [0.7, 0.9],
        [60, 120],
    )
    assert kept["stages"] == {"DEC": dict.fromkeys(("acc", "nmi", "ari"), [0.7, 0.9])}
    assert kept["commit"] == "c2, c1"
    # Only what is so of all of them, in the order that it had.
    assert list(kept["versions"].items()) == [(name, "1") for name in SAME]


@pytest.mark.parametrize(
    ("seeds", "text"), [([2], "2 only"), ([0, 1, 2], "0-2"), ([0, 2, 3], "0, 2, 3")]
)
def test_seeds_of_a_row(seeds, text):
    assert collect_results.seeds_of({"seeds": seeds}) == text


def test_seeds_of_several_processors_name_each_once(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path / "kept")
    for seed, device in enumerate(["1 CPU core (a, AVX2)", "b", "b"]):
        collect_results.keep(
            finished(tmp_path / str(seed), seed, 0.7, device=device), add=True
        )
    kept = collect_results.kept_results()["digits-dec"]
    assert kept["device"] == "1 CPU core (a, AVX2); b"


def test_seeds_of_another_start_are_kept_and_joined_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path / "kept")
    collect_results.keep(finished(tmp_path / "plain", 1, 0.5))
    for seed in (1, 2):
        run = finished(tmp_path / str(seed), seed, 0.7, start="spectral")
        collect_results.keep(run, add=True)
    kept = collect_results.kept_results()
    assert kept["digits-dec"]["seeds"] == [1]
    apart = kept["digits-dec-spectral"]
    assert (apart["seeds"], apart["start"]) == ([1, 2], "spectral")


@pytest.mark.parametrize(
    ("name", "off", "value", "ending", "option"),
    [
        ("graph_rows", None, 9000, "graph-9000", "--graph-rows 9000"),
        ("normalize", False, True, "normalize", "--normalize"),
        ("reseed_below", None, 0.1, "reseed-0.1", "--reseed-below 0.1"),
    ],
)
def test_seeds_with_an_option_are_kept_and_joined_apart(
    tmp_path, monkeypatch, name, off, value, ending, option
):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path / "kept")
    collect_results.keep(finished(tmp_path / "plain", 1, 0.5, **{name: off}))
    for seed in (1, 2):
        run = finished(tmp_path / str(seed), seed, 0.7, **{name: value})
        collect_results.keep(run, add=True)
    kept = collect_results.kept_results()
    assert kept["digits-dec"]["seeds"] == [1]
    assert name not in kept["digits-dec"]
    assert kept[f"digits-dec-{ending}"]["seeds"] == [1, 2]
    assert collect_results.called(kept[f"digits-dec-{ending}"]) == f"`dec {option}`"


@pytest.mark.parametrize(
    ("seed", "other", "told"),
    [
        (1, {}, r"needs seeds that are not kept yet, got \[1\] again"),
        (
            2,
            {"precision": "bfloat16"},
            "of the same precision, got bfloat16 beside float",
        ),
        (2, {"n_samples": 8}, "of the same samples, got 8 beside 9"),
        (2, {"versions": {"jax": "2"}}, "of the same jax, got 2 beside 1"),
        (2, {"stages": [IDEC_STAGE]}, "of the same stages, got IDEC beside DEC"),
    ],
)
def test_add_refuses_seeds_that_cannot_join(
    tmp_path, monkeypatch, capsys, seed, other, told
):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(collect_results, "READMES", ())
    target = collect_results.keep(finished(tmp_path / "one", 1, 0.7))
    before = target.read_text()
    more = finished(tmp_path / "two", seed, 0.9, **other)
    assert collect_results.main(["--add", str(more)]) == 2
    assert re.search(told, capsys.readouterr().err)
    assert target.read_text() == before


def test_add_refuses_what_has_no_seeds(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(collect_results, "READMES", ())
    run = tmp_path / "run"
    run.mkdir()
    (run / "results.json").write_text('{"dataset": "digits", "kind": "simple"}')
    assert collect_results.main(["--add", str(run)]) == 0
    assert collect_results.main(["--add", str(run)]) == 2
    assert "joins runs of recipes" in capsys.readouterr().err


def kept_run(folder, name, acc, **label_free):
    numbers = {"acc": acc, "label_free": label_free}
    (folder / f"{name}.json").write_text(json.dumps(numbers))


def test_ranks_pool_the_seeds_of_all_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path)
    # Within each run the first score is right, the second wrong, the third unknown;
    # over both, accuracy would seem to go with more evenness.
    acc = [0.7, 0.8, 0.9]
    kept_run(tmp_path, "a", acc, stability=[1, 2, 3], evenness=[3, 2, 1])
    acc = [0.2, 0.1, 0.3]
    kept_run(tmp_path, "b", acc, stability=[5, 4, 9], evenness=[-2, -1, -3])
    # Neither runs without classes nor older ones count.
    kept_run(tmp_path, "c", [None] * 3, stability=[1, 2, 3])
    (tmp_path / "d.json").write_text(json.dumps({"acc": [0.5]}))
    lines = collect_results.ranks_table().splitlines()
    assert "| `stability` | 1.00 | 6 | 2 |" in lines
    assert "| `evenness` | -1.00 | 6 | 2 |" in lines
    assert "| `silhouette` |  | 0 | 0 |" in lines


def test_ranks_count_the_runs_with_less_of_a_loss_as_better(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path)
    losses = [0.3, 0.2, None, 0.1]
    kept_run(tmp_path, "a", [0.7, 0.8, 0.1, 0.9], clustering=losses)
    assert (
        "| `clustering` | 1.00 | 3 | 1 |" in collect_results.ranks_table().splitlines()
    )


def test_choose_k_table_has_what_each_view_points_to(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_results, "KEPT", tmp_path / "results")
    run = tmp_path / "run"
    run.mkdir()
    found = {
        "recipe": "choose-k",
        "dataset": "blobs",
        "seed": 0,
        "recommended": 3,
        "decided": True,
        "n_classes": 3,
        "n_clusters": [2, 3, 4],
        "eigengap": [0.1, 0.4, 0.2],
        "silhouette": [0.5, 0.3, 0.1],
        "support": [0.1, 0.2, 0.3],
        "device": "1 CPU core",
        "versions": {"jax": "1.2"},
    }
    (run / "results.json").write_text(json.dumps(found))
    assert collect_results.keep(run).name == "blobs-choose-k.json"
    views = "support 4, eigengap 3, silhouette 2"
    row = f"| blobs | 3 | 3 | yes | {views} | 1 CPU core, jax 1.2 |"
    assert collect_results.choose_k_table().splitlines()[2:] == [row]
