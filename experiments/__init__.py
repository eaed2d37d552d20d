"""One runnable file per published result or tutorial: `python -m experiments.<name>`."""
