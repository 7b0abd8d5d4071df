"""How often verdicts alarm without drift, and how soon with it: `python -m benchmarks.drift`."""
