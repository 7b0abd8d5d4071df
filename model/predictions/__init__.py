"""The prediction log: what was answered, when, by which model, from which inputs; and what became of it.

entry     what is written: an entry per request; and what is read: a prediction per row
pseudonym what stands for a customer's key where keys are hashed
sample    whose answers are recorded, where not everybody's are
outcome   what became of those whom predictions were about, and which of several words holds
segment   the files that entries are appended to
reading   a log in a directory of segments, and how a log is opened by its URL
block     answers of one model, column by column
tail      reading a log on from a cursor; following, postgres_tail: in files, and in PostgreSQL
postgres  a log in tables of PostgreSQL; postgres_outcomes: that of outcomes
"""

from __future__ import annotations

from model.predictions.entry import Entry, Header, Prediction, cells, expand, plain

__all__ = ["Entry", "Header", "Prediction", "cells", "expand", "plain"]
