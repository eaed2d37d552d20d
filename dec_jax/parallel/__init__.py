"""Spreads rows over devices and processes, and walks over them in blocks."""
