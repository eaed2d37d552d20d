"""Trains autoencoders and clusters."""
