"""Methods whose map is the solution of an optimisation problem."""
