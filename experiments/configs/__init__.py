"""Evaluations: each a figure or a table of a paper, with what was seen."""
