"""Tests of training/card/."""
