"""Batch scoring, against real data, files and servers."""
