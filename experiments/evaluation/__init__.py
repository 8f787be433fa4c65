"""What `evaluate.py` is made of: the runner, summaries, plots, the report."""
