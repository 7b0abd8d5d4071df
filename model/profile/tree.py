"""Which pairs are watched together: the tree of columns that tells most of how they hang together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.profile.column import GROUPS, Codes

ROWS = 100_000
"""Rows that mutual information is measured on: the first ones."""


def strongest(groups: list[Codes]) -> list[tuple[int, int]]:
    """The k - 1 edges of the Chow-Liu tree over k columns: the spanning tree of the largest sum of mutual information
    (Chow and Liu 1968, "Approximating discrete probability distributions with dependence trees").

    Args:
        groups: coarse cells (n,) of each column, below `GROUPS`; `GROUPS` for none.

    Returns:
        Pairs of positions (a < b), strongest first.
    """
    k = len(groups)
    if k < 2:
        return []
    weight = np.zeros((k, k))
    for a in range(k):
        for b in range(a + 1, k):
            weight[a, b] = weight[b, a] = information(groups[a][:ROWS], groups[b][:ROWS])
    inside, best, parent = {0}, weight[0].copy(), np.zeros(k, int)
    edges = []
    while len(inside) < k:  # Prim's algorithm
        nearest = max((place for place in range(k) if place not in inside), key=lambda place: (best[place], -place))
        inside.add(nearest)
        a, b = sorted((int(parent[nearest]), nearest))
        edges.append((weight[a, b], a, b))
        closer = weight[nearest] > best
        best[closer], parent[closer] = weight[nearest][closer], nearest
    return [(a, b) for _, a, b in sorted(edges, key=lambda edge: (-edge[0], edge[1], edge[2]))]


def information(a: Codes, b: Codes) -> float:
    """Mutual information of two columns' coarse cells, in nats."""
    wide = GROUPS + 1
    joint: NDArray[np.float64] = np.bincount(a * np.uint8(wide) + b, minlength=wide**2).reshape(wide, wide) / max(
        len(a), 1
    )
    apart = np.outer(joint.sum(1), joint.sum(0))
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())
