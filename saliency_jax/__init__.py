"""JAX-native saliency maps: pure functions, one signature for all."""

__version__ = '0.1.0'
