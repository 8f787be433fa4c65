"""What `experiments.train` is made of: data, steps, checkpoints, judgements."""
