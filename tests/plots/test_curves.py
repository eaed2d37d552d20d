import io

import numpy as np
import pytest

from dec_jax.plots.curves import loss_curves, training_curves


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


def test_training_curves_draws_a_panel_for_each_curve():
    figure = drawn(
        training_curves(
            [3, 2, 1], np.array([0.5, 0.4]), [0.2, 0.1], accuracy=[0.8, 0.9]
        )
    )
    panels = figure.axes
    assert [panel.get_title(loc="left") for panel in panels] == [
        "Pretraining",
        "Clustering",
        "Labels that changed",
        "Accuracy",
    ]
    curves = [panel.lines[0].get_xydata().tolist() for panel in panels]
    assert curves == [
        [[1, 3], [2, 2], [3, 1]],
        [[1, 0.5], [2, 0.4]],
        [[1, 0.2], [2, 0.1]],
        [[1, 0.8], [2, 0.9]],
    ]
    assert [panel.get_yscale() for panel in panels] == ["linear"] * 2 + [
        "log",
        "linear",
    ]


def test_training_curves_leaves_out_what_is_not_given():
    (panel,) = drawn(training_curves(None, [1.0, np.nan, 0.5], [])).axes
    assert panel.get_title(loc="left") == "Clustering"


def test_training_curves_shows_zeros_and_the_tolerance_on_the_log_scale():
    figure = drawn(training_curves(None, None, [0.1, 0, np.nan, 0], tolerance=0.001))
    (panel,) = figure.axes
    curve, zeros, line = panel.lines
    lowest, highest = panel.get_ylim()
    np.testing.assert_array_equal(curve.get_ydata(), [0.1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(zeros.get_xdata(), [2, 4])
    assert (lowest < zeros.get_ydata()).all()
    assert list(line.get_ydata()) == [0.001, 0.001]
    assert lowest < 0.001 < 0.1 < highest
    assert [text.get_text() for text in panel.get_legend().get_texts()] == [
        "none changed",
        "tolerance 0.001",
    ]


def test_training_curves_names_no_zeros_where_there_are_none():
    (panel,) = drawn(training_curves(None, None, [0.1, 0.2], tolerance=0.001)).axes
    names = [text.get_text() for text in panel.get_legend().get_texts()]
    assert names == ["tolerance 0.001"]


def test_training_curves_ticks_whole_intervals_even_of_a_single_one():
    for panel in drawn(training_curves([0.3], [0.3], [0.1])).axes:
        ticks = panel.get_xticks()
        np.testing.assert_array_equal(ticks, np.round(ticks))


@pytest.mark.parametrize("label_change", [[0.0], [0.0, 0.0], [np.nan], [1.0]])
def test_training_curves_draws_degenerate_label_changes(label_change):
    (panel,) = drawn(training_curves(None, None, label_change)).axes
    assert panel.get_yscale() == "log"


def test_training_curves_tells_two_uses_of_one_array_apart():
    shares = np.array([0.5, 0.0])
    change, accuracy = training_curves(None, None, shares, accuracy=shares).axes
    assert (change.get_yscale(), accuracy.get_yscale()) == ("log", "linear")


def test_training_curves_rejects_no_curve():
    message = "^training_curves needs at least one curve that is not empty.$"
    with pytest.raises(ValueError, match=message):
        training_curves([], None, None)
