"""Benchmarks of speed and memory, one module a question: `python -m benchmarks.<name>`."""
