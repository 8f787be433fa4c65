"""What `evaluate.py` is made of: measures, programs, summaries, the report."""
