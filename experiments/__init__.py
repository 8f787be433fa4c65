"""Launchers: `python -m experiments.explain` and its like, set by absl flags."""
