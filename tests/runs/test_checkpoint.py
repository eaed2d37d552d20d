import errno
import gc
import json
import os
import shutil
import warnings
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dec_jax.objectives import DEC
from dec_jax.runs.checkpoint import (
    ARRAYS,
    MANIFEST,
    CheckpointError,
    first_difference,
    restore,
    save,
)
from dec_jax.runs.json_files import checksum
from dec_jax.training.pretrain import PretrainConfig, init_pretraining
from dec_jax.training.state import TrainConfig, init_state

# Orbax leaves the other reads under way when one of them fails.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

SETTINGS = {"data": {"name": "blobs", "sha256": "a1"}, "hidden": (16, 3), "k": 4}


def pretraining(architecture, seed=0):
    return init_pretraining(
        jax.random.key(seed),
        architecture=architecture,
        config=PretrainConfig(),
        n_samples=200,
    )


def clustering(architecture, seed=0):
    return init_state(
        jax.random.key(seed),
        pretraining(architecture, seed).params,
        jnp.full((4, 3), float(seed)),
        jnp.arange(200, dtype=jnp.int32) % 4,
        objective=DEC(),
        config=TrainConfig(),
    )


@pytest.fixture(scope="module", autouse=True)
def leftovers_of_orbax_end_here():
    yield
    gc.collect()


@pytest.fixture
def templates(architecture):
    return {
        "pretrain": lambda: pretraining(architecture, seed=7),
        "train": lambda: clustering(architecture, seed=7),
    }


@pytest.fixture
def two_saved(tmp_path, architecture):
    """Steps 10 and 20 of one run: the parameters of seed 1, then those of seed 2."""
    return [
        save(
            tmp_path,
            pretraining(architecture, seed),
            phase="pretrain",
            step=10 * seed,
            settings=SETTINGS,
            progress={"seed": seed},
        )
        for seed in (1, 2)
    ]


def assert_same_state(actual, expected):
    def plain(leaf):
        typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if typed else leaf)

    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for left, right in zip(
        jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
    ):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(plain(left), plain(right))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def largest_file(folder):
    files = [path for path in (folder / ARRAYS).rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


# Round trip.


@pytest.mark.parametrize(
    ("phase", "state_of"), [("pretrain", pretraining), ("train", clustering)]
)
def test_restore_gives_back_what_was_saved(
    tmp_path, architecture, templates, phase, state_of
):
    state = state_of(architecture, seed=1)
    progress = {"loss": [0.5, 0.25], "note": None}
    save(tmp_path, state, phase=phase, step=3, settings=SETTINGS, progress=progress)
    found = restore(tmp_path, templates, settings=SETTINGS)
    assert (found.phase, found.step, found.progress) == (phase, 3, progress)
    assert_same_state(found.state, state)


def test_restored_key_draws_the_same_numbers(tmp_path, architecture, templates):
    state = clustering(architecture, seed=1)
    save(tmp_path, state, phase="train", step=1, settings=SETTINGS, progress={})
    found = restore(tmp_path, templates, settings=SETTINGS).state
    np.testing.assert_array_equal(
        jax.random.uniform(found.key, (5,)), jax.random.uniform(state.key, (5,))
    )


def test_restored_progress_keeps_nan(tmp_path, architecture, templates):
    state = pretraining(architecture)
    progress = {"loss": [float("nan")]}
    save(
        tmp_path, state, phase="pretrain", step=1, settings=SETTINGS, progress=progress
    )
    found = restore(tmp_path, templates, settings=SETTINGS)
    assert np.isnan(found.progress["loss"]).tolist() == [True]


def test_restore_takes_the_newest(tmp_path, two_saved, templates):
    found = restore(tmp_path, templates, settings=SETTINGS)
    assert (found.step, found.progress) == (20, {"seed": 2})


def test_restore_takes_the_later_phase_with_fewer_steps(
    tmp_path, two_saved, architecture, templates
):
    state = clustering(architecture)
    save(tmp_path, state, phase="train", step=1, settings=SETTINGS, progress={})
    assert restore(tmp_path, templates, settings=SETTINGS).phase == "train"


def test_restore_finds_nothing_where_there_is_nothing(tmp_path, templates):
    assert restore(tmp_path / "nowhere", templates, settings=SETTINGS) is None
    assert restore(tmp_path, templates, settings=SETTINGS) is None


def test_restore_passes_over_files_that_are_not_checkpoints(
    tmp_path, two_saved, templates
):
    (tmp_path / "before.npz").write_bytes(b"")
    (tmp_path / "pretrain-old").mkdir()
    assert restore(tmp_path, templates, settings=SETTINGS).step == 20


# How many are kept.


@pytest.mark.parametrize(
    ("keep", "left"),
    [(1, ["pretrain-000000003"]), (2, ["pretrain-000000002", "pretrain-000000003"])],
)
def test_save_keeps_the_newest(tmp_path, architecture, keep, left):
    state = pretraining(architecture)
    for step in (1, 2, 3):
        save(
            tmp_path,
            state,
            phase="pretrain",
            step=step,
            settings=SETTINGS,
            progress={},
            keep=keep,
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == left


@pytest.mark.parametrize(
    ("number", "fails"), [(errno.ENOSPC, True), (errno.EOPNOTSUPP, False)]
)
def test_save_needs_room_but_no_disk_that_reserves_it(
    tmp_path, architecture, monkeypatch, number, fails
):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    state = pretraining(architecture)
    told = pytest.raises(OSError, match="No space") if fails else nullcontext()
    with told:
        save(tmp_path, state, phase="a", step=1, settings=SETTINGS, progress={})
    left = [] if fails else ["a-000000001"]
    assert [path.name for path in tmp_path.iterdir()] == left


def test_save_tells_what_orbax_says(tmp_path, architecture, monkeypatch):
    def refuse(*_):
        raise ValueError(
            "OUT_OF_RANGE: [a: b]: No space left on device [os_error='28']"
        )

    from orbax.checkpoint import v1 as ocp

    monkeypatch.setattr(ocp, "save", refuse)
    state = pretraining(architecture)
    message = "a-000000001 cannot be written: No space left on device$"
    with pytest.raises(OSError, match=message):
        save(tmp_path, state, phase="a", step=1, settings=SETTINGS, progress={})


def test_save_writes_over_a_half_written_folder(tmp_path, architecture, templates):
    half = tmp_path / "pretrain-000000001"
    (half / ARRAYS).mkdir(parents=True)
    (half / ARRAYS / "leftover").write_bytes(b"x")
    assert restore(tmp_path, templates, settings=SETTINGS) is None
    state = pretraining(architecture, seed=1)
    save(tmp_path, state, phase="pretrain", step=1, settings=SETTINGS, progress={})
    assert_same_state(restore(tmp_path, templates, settings=SETTINGS).state, state)


def test_restore_passes_over_a_folder_without_a_manifest(
    tmp_path, two_saved, templates
):
    (two_saved[1] / MANIFEST).unlink()
    assert restore(tmp_path, templates, settings=SETTINGS).step == 10


# Damage.


def test_restore_notices_one_flipped_bit(tmp_path, two_saved, architecture, templates):
    flip_a_bit(largest_file(two_saved[1]))
    with pytest.warns(UserWarning, match="pretrain-000000020 is damaged.* earlier one"):
        found = restore(tmp_path, templates, settings=SETTINGS)
    assert found.step == 10
    assert_same_state(found.state, pretraining(architecture, seed=1))


def test_restore_never_gives_back_a_wrong_state_whichever_file_is_hit(
    tmp_path, two_saved, architecture, templates
):
    shutil.rmtree(two_saved[0])
    expected = pretraining(architecture, seed=2)
    files = [path for path in two_saved[1].rglob("*") if path.is_file()]
    assert len(files) > 5
    refused = []
    for path in files:
        whole = path.read_bytes()
        if whole:
            flip_a_bit(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = restore(tmp_path, templates, settings=SETTINGS)
                assert_same_state(found.state, expected)
                assert found.progress == {"seed": 2}
            except CheckpointError:
                refused.append(path.name)
        path.write_bytes(whole)
    assert MANIFEST in refused and len(refused) > 1


def test_restore_notices_a_truncated_file(tmp_path, two_saved, templates):
    path = largest_file(two_saved[1])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="pretrain-000000020 is damaged"):
        assert restore(tmp_path, templates, settings=SETTINGS).step == 10


def test_restore_notices_missing_arrays(tmp_path, two_saved, templates):
    shutil.rmtree(two_saved[1] / ARRAYS)
    with pytest.warns(UserWarning, match="is damaged or incomplete"):
        assert restore(tmp_path, templates, settings=SETTINGS).step == 10


@pytest.mark.parametrize("content", ["", '{"order": 2', "[]", "{}", '{"order": 2}'])
def test_restore_notices_a_damaged_manifest(tmp_path, two_saved, templates, content):
    (two_saved[1] / MANIFEST).write_text(content)
    with pytest.warns(UserWarning, match=r"pretrain-000000020/manifest\.json is damag"):
        assert restore(tmp_path, templates, settings=SETTINGS).step == 10


def test_restore_notices_a_changed_number_in_the_manifest(
    tmp_path, two_saved, templates
):
    path = two_saved[1] / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "step": 21}))
    with pytest.warns(UserWarning, match="is damaged"):
        assert restore(tmp_path, templates, settings=SETTINGS).step == 10


def forge(folder, changes):
    """Writes a manifest with other entries, and the checksum that fits them."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    del manifest["manifest_sha256"]
    manifest = {name: value for name, value in manifest.items() if value is not ...}
    signed = {**manifest, "manifest_sha256": checksum(manifest)}
    (folder / MANIFEST).write_text(json.dumps(signed))


@pytest.mark.parametrize(
    "changes",
    [
        *({"order": ...}, {"order": "2"}, {"phase": ...}, {"phase": 3}, {"step": None}),
        *({"settings": []}, {"progress": ...}, {"sha256": ["a"]}, {"files": 4}),
        {"sha256": {"['x']": "a"}},
    ],
)
def test_restore_notices_a_forged_manifest(tmp_path, two_saved, templates, changes):
    forge(two_saved[1], changes)
    with pytest.warns(UserWarning, match="is damaged"):
        assert restore(tmp_path, templates, settings=SETTINGS).step == 10


def test_restore_rejects_a_phase_that_the_run_has_not(tmp_path, two_saved, templates):
    forge(two_saved[1], {"phase": "tune"})
    message = "was made by another run: its phase 'tune' is none of pretrain, "
    with pytest.raises(CheckpointError, match=message):
        restore(tmp_path, templates, settings=SETTINGS)


def test_save_goes_on_beside_a_damaged_manifest(
    tmp_path, two_saved, architecture, templates
):
    (two_saved[1] / MANIFEST).write_text("{")
    state = pretraining(architecture, seed=3)
    save(tmp_path, state, phase="pretrain", step=20, settings=SETTINGS, progress={})
    assert_same_state(restore(tmp_path, templates, settings=SETTINGS).state, state)


def test_restore_rejects_a_folder_in_which_all_are_damaged(
    tmp_path, two_saved, templates
):
    for folder in two_saved:
        flip_a_bit(largest_file(folder))
    reason = r"No whole checkpoint in .*: .*pretrain-000000020 is damaged"
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(CheckpointError, match=reason),
    ):
        restore(tmp_path, templates, settings=SETTINGS)


def test_restore_rejects_a_folder_in_which_all_manifests_are_damaged(
    tmp_path, two_saved, templates
):
    for folder in two_saved:
        (folder / MANIFEST).write_text("{")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(CheckpointError, match=r"No whole checkpoint.*manifest\.json is"),
    ):
        restore(tmp_path, templates, settings=SETTINGS)


# Another run.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 5}, "k was 4 there and is 5 here"),
        ({"hidden": (16, 4)}, r"hidden was \[16, 3\] there and is \[16, 4\] here"),
        (
            {"data": {"name": "blobs", "sha256": "b2"}},
            "data.sha256 was 'a1' there and is 'b2' here",
        ),
        ({"added": 1}, "added was None there and is 1 here"),
    ],
)
def test_restore_rejects_another_run(tmp_path, two_saved, templates, change, message):
    with pytest.raises(CheckpointError, match=f"made by another run: {message}"):
        restore(tmp_path, templates, settings={**SETTINGS, **change})


def test_first_difference_takes_a_tuple_for_a_list():
    assert first_difference({"hidden": [16, 3]}, {"hidden": (16, 3)}) == ""


def test_first_difference_names_a_setting_that_is_gone():
    message = "old was 1 there and is None here."
    assert first_difference({"old": 1}, {}) == message
