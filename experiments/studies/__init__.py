"""Studies that `experiments.study` runs: `run(config, folder) -> Findings`."""
