"""The model: its artefact, the scorer, the load gate, the registry and its journal."""
