import numpy as np
from programs import cluster, read_json


def test_two_seeds_are_summed_up(finished):
    summary = read_json(finished.folder / "summary.json")
    assert summary["seeds"] == [3, 4]
    inner = [
        read_json(finished.folder / f"seed-{seed}/results.json") for seed in (3, 4)
    ]
    assert summary["acc"] == [one["stages"][-1]["acc"] for one in inner]
    assert summary["seconds"] == [one["seconds"]["total"] for one in inner]
    assert {"dataset", "recipe", "device", "versions", "commit"} <= set(summary)


def test_two_seeds_print_mean_sd_least_and_most(finished):
    lines = finished.out.splitlines()
    header = lines.index(next(line for line in lines if line.startswith("2 seeds")))
    assert lines[header].split()[2:] == ["mean", "sd", "min", "max"]
    scores = ["ACC", "1.000", "0.000", "1.000", "1.000"]
    assert lines[header + 1].split() == [*["k-means", "on", "the", "data"], *scores]
    assert lines[-2].startswith("seconds a seed ")


def test_three_seeds_are_chosen_among_without_labels(on_blobs, no_figures, tmp_path):
    out = tmp_path / "out"
    run = cluster(*on_blobs, "--seeds", 3, "--out", out)
    summary = read_json(out / "summary.json")
    chosen = summary["chosen_seed"]
    scores = summary["label_free"]
    assert scores["stability"][chosen] == max(scores["stability"])
    inner = read_json(out / f"seed-{chosen}/results.json")
    for name, value in inner["label_free"].items():
        assert scores[name][chosen] == value
    told, consensus = run.out.splitlines()[-3:-1]
    assert told.startswith(f"chosen without labels: seed {chosen}, which agrees most ")
    acc = summary["acc"]
    assert told.endswith(f"ACC {acc[chosen]:.3f}, mean {np.mean(acc):.3f}")
    assert consensus.startswith("consensus of the seeds (consensus.csv): ")
    assert (out / "consensus.csv").is_file()
    assert summary["run_seconds"] >= sum(summary["seconds"])


def test_two_seeds_leave_no_choice(finished):
    summary = read_json(finished.folder / "summary.json")
    assert not {"label_free", "chosen_seed"} & set(summary)
