"""What `explain.py` is made of: programs of families, and what it writes."""
