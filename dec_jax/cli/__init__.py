"""The `dec-jax` command, a module for each verb.

No module here imports jax at its top, so that `--help` and a mistyped option answer at
once.
"""
