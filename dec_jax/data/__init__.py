"""Reads files and arrays into a `Dataset`: samples, labels and their origin."""
