"""Benchmarks: what measures must itself be right."""
