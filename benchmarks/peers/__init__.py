"""What users would pick instead: servers of the same model, each run in an environment that suits it."""
