"""Reads drawn figures, for tests."""

import io


def drawn(figure):
    """The figure, once all of it was drawn: what matplotlib warns of is an error."""
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    return figure


def texts(panel):
    return [text.get_text() for text in panel.texts]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]
