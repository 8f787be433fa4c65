"""What `benchmark.py` is made of: programs, bare calls, networks, tables."""
