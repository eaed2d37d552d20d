import numpy as np
import pytest

from dec_jax.evaluation.stage_scores import stage_scores
from dec_jax.runs import summary

HEALTH = {"smallest": 5412, "largest": 8001, "evenness": 0.984, "max_q": 0.931}


def results(warnings):
    stage = {"name": "DEC", "acc": 0.5, "nmi": 0.5, "ari": 0.5, "seconds": 1.0}
    return {
        "stages": [stage],
        "seconds": {"pretraining": 1.0, "total": 2.0},
        "stop_reason": "labels settled",
        "health": HEALTH | {"healthy": not warnings, "warnings": warnings},
    }


@pytest.mark.parametrize(
    ("warnings", "line"),
    [
        (
            [],
            "training was stable: clusters of 5,412 to 8,001 samples (evenness 0.98 of 1), "
            "mean q of the own cluster 0.93 of 1",
        ),
        (["one: a", "two: b"], "training was unstable: one: a; two: b"),
    ],
)
def test_table_ends_with_the_stability_of_training(warnings, line):
    assert summary.table(results(warnings)).splitlines()[-1] == line


def test_stage_without_classes_has_sizes_evenness_and_silhouette():
    z = np.array([[0.0], [1.0], [10.0], [11.0]])
    stage = stage_scores(None, np.array([0, 0, 1, 1]), z, 2)
    assert stage.pop("silhouette") == pytest.approx(0.8997, abs=1e-4)
    assert stage == {"smallest": 2, "largest": 2, "evenness": 1.0}
