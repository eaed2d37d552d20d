import json
from dataclasses import asdict

import pytest

from dec_jax.runs.errors import UsageError, flag
from dec_jax.runs.json_files import write_checked
from dec_jax.runs.settings import Settings, resolve


def write_config(folder, **command):
    content = {"command": Settings(**command).as_json()}
    write_checked(folder / "config.json", content)


def test_resolve_takes_the_options_of_a_run_and_leaves_out_others():
    assert resolve({"epochs": 3, "out": "x"}) == Settings(epochs=3)


def test_settings_are_json_and_back():
    settings = Settings(dataset="digits", epochs=3, reseed_below=0.1)
    assert Settings(**json.loads(json.dumps(settings.as_json()))) == settings


def test_reading_and_changes_hold_each_setting_once():
    settings = Settings(image_size=8, no_standardize=True, batch_size=64)
    assert settings.reading["image_size"] == 8
    assert settings.reading["standardize"] is False
    assert settings.changes["batch_size"] == 64
    assert not settings.reading.keys() & settings.changes.keys()
    assert {*settings.reading, *settings.changes} - {*asdict(settings)} == {
        "standardize"
    }


def test_resolve_rejects_one_cluster():
    with pytest.raises(UsageError, match="-k must be at least 2, got 1"):
        resolve({"n_clusters": 1})


@pytest.mark.parametrize("name", ["seeds", "epochs", "max_intervals", "batch_size"])
def test_resolve_rejects_numbers_below_1(name):
    with pytest.raises(UsageError, match=f"{flag(name)} must be at least 1, got 0"):
        resolve({name: 0})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"seed": -1}, "--seed must be at least 0, got -1"),
        ({"seed": 2**32}, "--seed must be below"),
        ({"vectorized": True}, "--vectorized needs --seeds of 2 or more, got 1"),
    ],
)
def test_resolve_rejects_seeds_that_cannot_be(options, message):
    with pytest.raises(UsageError, match=message):
        resolve(options)


def test_resolve_takes_the_settings_of_the_run_to_be_resumed(tmp_path):
    write_config(tmp_path, dataset="digits", seeds=3)
    settings = resolve({"resume": str(tmp_path), "seeds": 3})
    assert settings == Settings(dataset="digits", seeds=3)


def test_resolve_rejects_a_setting_that_the_run_did_not_have(tmp_path):
    write_config(tmp_path, batch_size=64)
    message = "that run has --batch-size 64, not 32; leave the option out"
    with pytest.raises(UsageError, match=message):
        resolve({"resume": str(tmp_path), "batch_size": 32})


def test_resolve_tells_how_to_cluster_for_longer(tmp_path):
    write_config(tmp_path, max_intervals=30)
    message = f"not 60; .* start a new run with --pretrained {tmp_path}."
    with pytest.raises(UsageError, match=message):
        resolve({"resume": str(tmp_path), "max_intervals": 60})


def test_resolve_rejects_out_together_with_resume(tmp_path):
    with pytest.raises(UsageError, match="--out and --resume name two folders"):
        resolve({"resume": str(tmp_path), "out": str(tmp_path)})


def test_resolve_rejects_a_folder_without_a_run(tmp_path):
    with pytest.raises(UsageError, match="there is no config.json in it"):
        resolve({"resume": str(tmp_path)})


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "null", "3", '"a"', "[" * 9000, '{"command": 3}']
)
def test_resolve_rejects_a_damaged_config(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match="config.json must be as dec-jax wrote it"):
        resolve({"resume": str(tmp_path)})


@pytest.mark.parametrize("content", [{}, {"command": 3}, {"command": {"sed": 0}}])
def test_resolve_rejects_the_config_of_another_version(tmp_path, content):
    write_checked(tmp_path / "config.json", content)
    with pytest.raises(UsageError, match="must hold the options of dec-jax cluster of"):
        resolve({"resume": str(tmp_path)})
