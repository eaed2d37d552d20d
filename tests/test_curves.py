import io

import numpy as np
import pytest

from dec_jax.curves import loss_curves


def drawn(figure):
    """The figure, once all of it was drawn: what matplotlib warns of is an error."""
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    return figure


def lines(panel):
    """{name in the legend: its points} of all curves that have one."""
    return {
        line.get_label(): line.get_xydata().tolist()
        for line in panel.lines
        if not line.get_label().startswith("_")
    }


def test_loss_curves_draws_both_over_epochs_from_1_and_marks_the_best():
    (panel,) = drawn(loss_curves([3, 2, 1], np.array([3.5, 2.5, 2.75]), 2)).axes
    assert lines(panel) == {
        "training": [[1, 3], [2, 2], [3, 1]],
        "validation": [[1, 3.5], [2, 2.5], [3, 2.75]],
        "best epoch, 2": [[2, 2.5]],
    }
    names = [text.get_text() for text in panel.get_legend().get_texts()]
    assert names == ["training", "validation", "best epoch, 2"]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("epoch", "loss")


def test_loss_curves_without_validation_marks_the_curve_of_training():
    (panel,) = drawn(loss_curves([3.0, 2.0], best_epoch=1, title="Warm-up")).axes
    assert lines(panel) == {"training": [[1, 3], [2, 2]], "best epoch, 1": [[1, 3]]}
    assert panel.get_title(loc="left") == "Warm-up"


def test_loss_curves_takes_validation_that_was_never_measured_for_none():
    (panel,) = drawn(loss_curves([3.0, 2.0], [np.nan, np.nan], 2)).axes
    assert lines(panel) == {"training": [[1, 3], [2, 2]], "best epoch, 2": [[2, 2]]}


def test_loss_curves_leaves_gaps_in_training_and_none_in_rare_validation():
    nan = np.nan
    panel = drawn(loss_curves([3, nan, 1, 1], [nan, 2, nan, 1])).axes[0]
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), [3, nan, 1, 1])
    assert panel.lines[1].get_xydata().tolist() == [[2, 2], [4, 1]]


@pytest.mark.parametrize("n_epochs", [1, 3, 60, 500])
def test_loss_curves_ticks_whole_epochs(n_epochs):
    (panel,) = drawn(loss_curves(np.ones(n_epochs))).axes
    ticks = panel.get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))


@pytest.mark.parametrize(("n_epochs", "marker"), [(30, "o"), (31, "")])
def test_loss_curves_marks_each_epoch_while_they_are_few(n_epochs, marker):
    (panel,) = loss_curves(np.ones(n_epochs)).axes
    assert panel.lines[0].get_marker() == marker


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"train": []},
            ValueError,
            "train must have shape [epochs] and hold at least one loss, got shape (0,).",
        ),
        (
            {"train": np.ones((2, 2))},
            ValueError,
            "train must have shape [epochs] and hold at least one loss, got shape (2, 2).",
        ),
        (
            {"validation": [1.0]},
            ValueError,
            "validation must have shape (3,), one loss for each epoch (NaN where none was "
            "measured), got shape (1,).",
        ),
        (
            {"best_epoch": 4},
            ValueError,
            "best_epoch must be from 1 to 3, the number of epochs, got 4.",
        ),
        ({"best_epoch": 0}, ValueError, "best_epoch must be at least 1, got 0."),
        ({"best_epoch": 1.0}, TypeError, "best_epoch must be an integer, got 1.0."),
    ],
)
def test_loss_curves_rejects_what_does_not_fit(options, error, message):
    with pytest.raises(error) as caught:
        loss_curves(**{"train": [3.0, 2.0, 1.0]} | options)
    assert str(caught.value) == message
