"""Batch scoring: everyone at one time, in partitions that are committed whole."""
