"""Serving: one transport-free core, and the edge that HTTP requests pass."""
