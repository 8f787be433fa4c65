"""Launchers: `python -m experiments.explain`, and what they share."""
