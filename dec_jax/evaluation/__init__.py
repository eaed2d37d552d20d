"""Scores with and without labels, the stability of training, and the choice of k."""
