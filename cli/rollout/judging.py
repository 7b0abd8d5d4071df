"""Whether a canary is bad, from what it and the stable servers counted while both were asked.

Each check is a one-sided test of "worse than allowed", so that noise is no verdict: a canary of which nothing can be
shown is good. A check is made at every look; its level is `LEVEL` divided by the checks and looks of the whole run
(Bonferroni), so that of canaries that are just as bad as is allowed at most 1 in 100 fails, however often they are
looked at (2 of 3,000 simulated ones did). One that is no worse than the stable version is further off: of 5,000
simulated ones with 200 to 2,000 requests beside 200 to 20,000, looked at 24 times, none failed.

That holds where each request goes to either version by chance. A client that keeps one connection is answered by one
pod: where few clients ask, and each asks about customers of its own kind, scores differ for that reason.

- errors: Newcombe's interval of the difference of two proportions (Statistics in Medicine 17, 1998, method 10), from
  Wilson's of each: bad where all of it is above the allowed difference.
- latency: the limit is the stable p99 times what is allowed, but at least 10 ms beyond it, and then the next bound of
  the histogram's buckets. Bad where, by the same interval, over one point more of the canary's requests are slower
  than that. Below a second bounds are a factor of 1.3 to 1.7 apart: what is slower by less than that beyond the limit
  goes unseen.
- scores: the distance of Kolmogorov and Smirnov at the buckets' bounds, which is never more than that of the scores
  themselves, less what chance makes of it (Dvoretzky, Kiefer, Wolfowitz; Massart 1990; for two samples Wei and Dudley,
  Statistics and Probability Letters 82, 2012): bad where what is left is more than is allowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from cli.rollout.counts import Buckets, Counts

LEVEL = 0.01
TAIL = 0.01
"""Share of the requests that may be slower than p99, and so the points by which a canary may have more of them."""
NOISE = 0.01
"""Seconds that are no news: p99 was seen to differ by 3 ms between two servers of one version on one busy machine."""
CHECKS = 3

Verdict = Literal["good", "bad", "unknown"]


@dataclass(frozen=True)
class Limits:
    """What a canary may be worse by, and the requests from which on that is judged.

    Attributes:
        errors: points of the share of errors, as 0.01. latency: factor of the stable p99, at least 1.
        scores: distance of the two distributions, 0 to 1. minimum: requests of each version, at least 1.
    """

    errors: float
    latency: float
    scores: float
    minimum: int


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what came out, and the same in words. `unknown`: there is too little to judge by.

    Attributes:
        shown: by how much the canary is worse for certain, at the level of the test; NaN where nothing is known.
        limit: how much it may be.
    """

    name: str
    verdict: Verdict
    said: str
    shown: float
    limit: float


def judge(stable: Counts, canary: Counts, limits: Limits, looks: int) -> list[Check]:
    """What can be said of the canary now; `looks` is how often that is asked in all."""
    level = LEVEL / (CHECKS * looks)
    return [
        _errors(stable, canary, limits, level),
        _latency(stable.seconds, canary.seconds, limits, level),
        _scores(stable.scores, canary.scores, limits, level),
    ]


def enough(stable: Counts, canary: Counts, limits: Limits) -> bool:
    """Whether each version has had the requests to be judged by."""
    return min(stable.requests, canary.requests) >= limits.minimum


def quantile(buckets: Buckets, share: float) -> float:
    """Where so large a share of the values is at most, evenly spread in its bucket; infinity beyond the last bound."""
    total, low, before = buckets[math.inf], 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= share * total and count > before:
            return bound if bound == math.inf else low + (bound - low) * (share * total - before) / (count - before)
        low, before = bound, count
    return math.inf


def _errors(stable: Counts, canary: Counts, limits: Limits, level: float) -> Check:
    if not enough(stable, canary, limits):
        told = f"{canary.requests:,.0f} requests of the canary, {stable.requests:,.0f} of the stable version"
        return _unknown("errors", f"{told}; {limits.minimum:,} of each are needed", limits.errors)
    shown = _more((canary.errors, canary.requests), (stable.errors, stable.requests), level)
    shares = f"{canary.errors / canary.requests:.2%}, stable {stable.errors / stable.requests:.2%}"
    return _check("errors", shown, limits.errors, f"{shares}; {limits.errors:.1%} more is allowed")


def _latency(stable: Buckets, canary: Buckets, limits: Limits, level: float) -> Check:
    if _total(stable) < limits.minimum or _total(canary) < limits.minimum:
        return _unknown("latency", _few(stable, canary, limits), TAIL)
    usual = quantile(stable, 1 - TAIL)
    limit = max(limits.latency * usual, usual + NOISE)
    bounds = sorted(bound for bound in stable.keys() & canary.keys() if limit <= bound < math.inf)
    if not bounds:
        return _unknown("latency", f"the stable p99 is {_ms(usual)}: no bound of a bucket is beyond the limit", TAIL)
    late, usually = ((_total(one) - one[bounds[0]], _total(one)) for one in (canary, stable))
    times = f"p99 {_ms(quantile(canary, 1 - TAIL))}, stable {_ms(usual)}"
    shares = f"{late[0] / late[1]:.2%} slower than {_ms(bounds[0])}, stable {usually[0] / usually[1]:.2%}"
    return _check("latency", _more(late, usually, level), TAIL, f"{times}; {shares}; {TAIL:.0%} more is allowed")


def _scores(stable: Buckets, canary: Buckets, limits: Limits, level: float) -> Check:
    n, m = _total(canary), _total(stable)
    if min(n, m) < limits.minimum:
        return _unknown("scores", _few(stable, canary, limits), limits.scores)
    distance = max(abs(canary[bound] / n - stable[bound] / m) for bound in stable.keys() & canary.keys())
    chance = math.sqrt(math.log(math.e / level) / 2 * (1 / n + 1 / m))
    said = f"distance {distance:.3f}, of which {chance:.3f} may be chance; {limits.scores:g} is allowed"
    return _check("scores", distance - chance, limits.scores, said)


def _check(name: str, shown: float, limit: float, said: str) -> Check:
    return Check(name, "bad" if shown > limit else "good", said, shown, limit)


def _unknown(name: str, said: str, limit: float) -> Check:
    return Check(name, "unknown", said, math.nan, limit)


def _few(stable: Buckets, canary: Buckets, limits: Limits) -> str:
    told = f"{_total(canary):,.0f} single predictions of the canary, {_total(stable):,.0f} of the stable version"
    return f"{told}; {limits.minimum:,} of each are needed"


def _total(buckets: Buckets) -> float:
    return buckets.get(math.inf, 0)


def _more(one: tuple[float, float], other: tuple[float, float], level: float) -> float:
    """By how much the first proportion (count, of how many) is larger than the second for certain, at least."""
    z = NormalDist().inv_cdf(1 - level)
    (p, low, _), (q, _, high) = _wilson(*one, z), _wilson(*other, z)
    return p - q - math.hypot(p - low, high - q)


def _wilson(count: float, total: float, z: float) -> tuple[float, float, float]:
    """A proportion and Wilson's interval of it (Journal of the American Statistical Association 22, 1927)."""
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    return share, middle - half, middle + half


def _ms(seconds: float) -> str:
    return "beyond the last bucket" if seconds == math.inf else f"{1000 * seconds:.3g} ms"
