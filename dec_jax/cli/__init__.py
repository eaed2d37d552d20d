"""Provides the `dec-jax` command."""
