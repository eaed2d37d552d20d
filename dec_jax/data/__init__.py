"""Reads files into samples, labels and what is known of them."""
