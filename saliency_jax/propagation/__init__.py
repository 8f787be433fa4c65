"""Backward rules over a jaxpr: any function, no change to the model."""
