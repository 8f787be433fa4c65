"""What `explain.py` is made of: families of methods, and what it writes."""
