"""Describes, initializes and applies autoencoders."""
