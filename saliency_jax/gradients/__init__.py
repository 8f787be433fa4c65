"""Methods made of gradients in the input: plain, averaged, integrated."""
