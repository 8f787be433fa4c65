"""Studies that `experiments.study` runs: `run(config) -> Findings`."""
