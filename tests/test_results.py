import json

import pytest

from experiments import results

README = results.README.read_text()


@pytest.mark.parametrize("name", results.TABLES)
def test_tables_of_the_readme_are_those_of_the_kept_results(name):
    block = README.split(f"<!-- {name}: begin -->\n")[1]
    assert block.split(f"\n<!-- {name}: end -->")[0] == results.TABLES[name]()


def test_every_kept_result_says_where_it_was_measured():
    for name, kept in results.kept_results().items():
        assert kept["device"] and kept["versions"]["jax"] and kept["commit"], name
        if "seeds" in kept:
            lengths = {len(kept[score]) for score in ("seeds", "acc", "nmi", "ari")}
            assert len(lengths) == 1, name


def test_spread_is_mean_sd_least_and_most():
    # Of 0.7, 0.8 and 0.9 the standard deviation is 0.1, by n - 1.
    assert results.spread([0.7, 0.8, 0.9]) == "80.0 ± 10.0 (70.0 to 90.0)"
    assert results.spread([0.7]) == "70.0"


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
    monkeypatch.setattr(results, "KEPT", tmp_path / "kept")
    run = tmp_path / "run"
    (run / "seed-3").mkdir(parents=True)
    (run / "seed-3" / "latent.png").write_bytes(b"picture")
    found = {"dataset": "digits", **content}
    (run / file).write_text(json.dumps(found))
    assert results.keep(run) == tmp_path / "kept" / f"{name}.json"
    assert results.kept_results() == {name: found}
    picture = tmp_path / "kept" / f"{name}-latent.png"
    assert picture.exists() == ("seeds" in content)
