"""One runnable file per speed question: `python -m benchmarks.<name>`."""
