"""Launchers, `python -m experiments.explain`, and the packages that serve them.

They run from a checkout: no wheel contains them.
"""
