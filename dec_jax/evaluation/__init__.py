"""Scores clusters, with and without known classes."""
