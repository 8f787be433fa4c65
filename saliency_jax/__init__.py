"""JAX-native saliency maps: pure functions, one signature for all."""
