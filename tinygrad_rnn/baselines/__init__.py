"""Baselines: what a model must beat."""
