"""Runs recipes from start to end: `fit`, runs with a folder, resume."""
