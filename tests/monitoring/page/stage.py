"""A monitor with a history of its own: real profiles, windows and verdicts in a real ledger, drift half-way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import usecases
from features.clock import DAY, HOUR
from model.profile import Profile
from monitoring import Window, judge
from monitoring.ledger import Change, Closed, Fact, Opened, open_ledger
from monitoring.outcomes import performance
from monitoring.outcomes.tally import Tally
from monitoring.page import Watched
from usecases import Costs

TAG = "telco:20261101-0123abcd"
FORMER = "telco:20261001-89ab4567"
EVIL = '<script>alert("x")</script>'
"""A level, as somebody might send it."""
BEGAN = 1_793_491_200_000_000
ROWS = 1_000
COSTS = Costs(contact=2.0, loss=25.0, rescued=0.1)


def frame(rows: int, seed: int, drifted: bool = False) -> dict[str, Any]:
    """Answers of some subscribers; where it is drifted, charges have risen and fewer pay by cheque."""
    rng = np.random.default_rng(seed)
    charges = rng.gamma(9, 7, rows) * (1.25 if drifted else 1)
    tenure = rng.integers(0, 73, rows).astype(float)
    weights = [0.15, 0.25, 0.25, 0.35] if drifted else [0.35, 0.25, 0.2, 0.2]
    payment = rng.choice(["cheque", "transfer", "card", "a rather long name of a payment method"], rows, p=weights)
    payment = np.where(rng.random(rows) < 0.02, EVIL, payment)
    payment = np.where(rng.random(rows) < (0.02 if drifted else 0), "shells", payment)
    odds = (charges - 63) / 20 - (tenure - 36) / 18 - 1
    score = 1 / (1 + np.exp(-odds))  # of a world in which, once it is drifted, fewer leave than it says
    missing = rng.random(rows) < (0.06 if drifted else 0.001)
    return {
        "monthly_charges": charges,
        "tenure": tenure,
        "total_charges": np.where(missing, np.nan, charges * tenure),
        "payment_method": payment,
        "senior": rng.random(rows) < 0.16,
        "contract": rng.choice(["month", "year", "two years"], rows, p=[0.55, 0.21, 0.24]),
        "score": score,
        "decision": np.where(score > 0.8, "contact", "leave"),
        "outcome": rng.random(rows) < score * (0.7 if drifted else 1),
    }


def profile() -> Profile:
    """Of the training set."""
    use = {"tenure": 0.41, "monthly_charges": 0.3, "contract": 0.17, "payment_method": 0.08, "total_charges": 0.04}
    kinds: dict[str, Any] = {"senior": "category", "payment_method": "category", "contract": "category"}
    numbers: dict[str, Any] = dict.fromkeys(("monthly_charges", "tenure", "total_charges"), "number")
    roles: dict[str, Any] = {"score": "score", "decision": "decision", "outcome": "outcome"}
    return Profile.from_frame(frame(20_000, 0), {**numbers, **kinds, **roles}, use)


def staged(home: Path, windows: int = 24, drift: int = 18) -> Watched:
    """So many windows of one model, drifted from one on; another model that is settling; outcomes, skew, counters."""
    own, ledger = profile(), open_ledger(None, home, "telco")
    change, ring, facts = Change(0), list[Window](), list[Fact]()
    total = asked = Tally.empty()
    for number in range(1, windows + 1):
        rows = frame(ROWS, number, drifted=number >= drift)
        window = Window.from_frame(own, {n: v for n, v in rows.items() if n != "outcome" or number < windows - 3})
        ring.append(window)
        end = BEGAN + number * 3 * HOUR
        body = judge(own, ring).to_json()
        change.closed.append(
            Closed(
                TAG,
                number,
                end - 3 * HOUR,
                end,
                end + 1,
                ROWS,
                window.labelled,
                number % 5,
                window.to_bytes(),
                body,
                "training",
            )
        )
        tally = _tally(rows, labelled=True) if number < windows - 3 else Tally.empty()
        answers = _tally(rows, labelled=False)
        facts.append(Fact("performance", TAG, end, performance.fact(TAG, number, answers, tally, COSTS)))
        total, asked = total + tally, asked + answers
    facts.append(Fact("performance", TAG, end, performance.fact(TAG, None, asked, total, COSTS)))
    example = {"prediction_id": "0195-12", "logged": 70.5, "now": 70.4}
    features = {
        "tenure": {"compared": 900, "differing": 0, "ratio": 0.0},
        "monthly_charges": {"compared": 900, "differing": 9, "ratio": 0.01, "example": example},
    }
    skew = {"model": TAG, "since": BEGAN, "how": "equal in every bit", "checked": 900, "answers": 0}
    facts.append(Fact("skew", TAG, end, {**skew, "features": features, "not_compared": {"they are degraded": 3}}))
    request = {"asked": end + HOUR, "open": True, "windows": [windows - 2, windows], "findings": []}
    quality = {"since": BEGAN, "rows": 900, "unknown": 12, "degraded": 1, "age": {"mean": 1800.0, "max": 3_700.0}}
    facts.append(Fact("quality", TAG, end, {**quality, "fingerprints": ["ab12"], "thresholds": [0.8]}))
    facts.append(Fact("retrain", TAG, end + HOUR, request))
    newest = {"began": end, "seconds": 0.4, "newest": end, "unknown": {}, "trouble": []}
    facts.append(Fact("pass", None, end + HOUR, newest))
    change.facts = facts
    change.opened[TAG] = Opened(TAG, 412, 0, 3, end, end + HOUR, Window.empty(own).to_bytes())
    change.opened[FORMER] = Opened(FORMER, 7, 0, 0, BEGAN - DAY, BEGAN, Window.empty(own).to_bytes())
    change.counters.update(
        {
            ("records", "counted"): windows * ROWS + 419,
            ("records", "late"): 51,
            ("records", "duplicate"): 4,
            ("outcomes", "matched"): total.rows,
            ("outcomes", "unmatched"): 2,
            ("rejected", "contract"): 18,
        }
    )
    ledger.commit(change)
    return Watched(usecases.load("telco"), ledger, lambda tag: own if tag == TAG else None, home / "reports", 60.0)


def nothing(home: Path) -> Watched:
    """A monitor that has read nothing yet."""
    ledger = open_ledger(None, home, "telco")
    return Watched(usecases.load("telco"), ledger, lambda _: None, home / "reports", 60.0)


def _tally(rows: dict[str, Any], *, labelled: bool) -> Tally:
    return Tally.of(rows["score"], rows["decision"] == "contact", rows["outcome"] if labelled else None)
