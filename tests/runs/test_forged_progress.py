"""Checkpoints whose checksum is right, but whose progress no run has written."""

import json
from dataclasses import asdict

import pytest
from programs import assert_refused, cluster, interrupt_at

from dec_jax.runs.callbacks import Record
from dec_jax.runs.checkpoint import MANIFEST, CheckpointError
from dec_jax.runs.json_files import checksum

BLANK = asdict(Record())
HISTORY = {name: [1.0] for name in BLANK["history"]}


def test_record_reads_what_it_wrote():
    record = Record(
        stages=[{"name": "k-means on z", "acc": 0.5}],
        seconds={"pretraining": 2},
        pretraining_loss={"pretraining": [2.0, 1.0]},
        history=HISTORY,
        retries=[{"phase": "pretraining"}],
    )
    assert Record.read(json.loads(json.dumps(asdict(record)))) == record
    assert Record.read(BLANK) == Record()


@pytest.mark.parametrize(
    "entries",
    [
        *(None, [], {}, {**BLANK, "more": 1}, {**BLANK, "stages": {}}),
        *({**BLANK, "stages": ["a"]}, {**BLANK, "seconds": {"pretraining": "2"}}),
        *(
            {**BLANK, "pretraining_loss": {"pretraining": 2.0}},
            {**BLANK, "retries": [1]},
        ),
        *({**BLANK, "history": {}}, {**BLANK, "history": {**HISTORY, "loss": []}}),
        {**BLANK, "history": {**HISTORY, "loss": 1.0}},
        {name: value for name, value in BLANK.items() if name != "history"},
    ],
)
def test_record_rejects_what_no_run_writes(entries):
    with pytest.raises(CheckpointError, match="is not what a run writes"):
        Record.read(entries)


@pytest.mark.parametrize("at_once", [False, True], ids=["alone", "at once"])
def test_resume_rejects_forged_progress(on_blobs, tmp_path, monkeypatch, at_once):
    out = tmp_path / "out"
    more = ("--seeds", 2, "--vectorized") if at_once else ()
    with monkeypatch.context() as patched:
        interrupt_at(patched, "pretraining", 1)
        assert cluster(*on_blobs, *more, "--out", out).status == 130
    manifests = list(out.rglob(MANIFEST))
    assert manifests
    for path in manifests:
        manifest = json.loads(path.read_text()) | {"progress": {"runs": [{}]}}
        del manifest["manifest_sha256"]
        signed = {**manifest, "manifest_sha256": checksum(manifest)}
        path.write_text(json.dumps(signed))
    message = "The progress in the newest checkpoint is not what a run writes. Start a "
    assert_refused(cluster("--resume", out), message)
