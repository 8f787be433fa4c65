"""What `certify.py` and `attack.py` say of all their examples."""
