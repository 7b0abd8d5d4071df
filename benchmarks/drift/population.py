"""A made-up subscription business, as many rows of it as are asked for: 20 inputs, a score, a decision, an outcome."""

from __future__ import annotations

from typing import Any

import numpy as np

Frame = dict[str, np.ndarray[Any, Any]]
Generator = np.random.Generator
CONTRACTS = np.array(["monthly", "one year", "two years"], object)
INTERNET = np.array(["fibre", "dsl", "none"], object)
PAYMENTS = np.array(["check", "mail", "transfer", "card"], object)
REGIONS = np.array([f"region {number:02d}" for number in range(12)], object)
SCHEMA = {
    "score": "score",
    "decision": "decision",
    "outcome": "outcome",
    "day": "time",
}


class Population:
    """One business: its coefficients come from the seed, so that every seed is another one."""

    def __init__(self, seed: int) -> None:
        own = np.random.default_rng([seed, 1])
        self.mix = own.dirichlet([11, 4.2, 4.8])
        self.regions = own.dirichlet(np.full(12, 3.0))
        self.payments = own.dirichlet([6, 4, 4, 4])
        self.income = float(own.uniform(0.35, 0.55))
        self.weights = own.normal(0, 0.6, 6)
        self.week = own.normal(0, 0.35, (7, 3))
        first = self.draw(50_000, np.random.default_rng([seed, 2]))["score"]
        self.threshold = float(np.quantile(first, 0.85))

    def draw(self, n: int, random: Generator, day: np.ndarray[Any, Any] | None = None, season: float = 0.0) -> Frame:
        """Rows of it.

        Args:
            day: the day of each row, for those weekdays that are unlike the others by `season`.
        """
        z = random.normal(size=(n, 4))
        if day is not None and season:
            z[:, :3] += season * self.week[day % 7]
        tenure = np.floor(72 * random.beta(0.8, 0.9, n))
        monthly = np.round(np.where(random.random(n) < 0.25, 20 + random.normal(0, 1, n), 70 + 22 * z[:, 0]), 2)
        orders = random.poisson(np.exp(0.4 + 0.5 * z[:, 1])) * (random.random(n) < 0.6)
        spend = np.where(orders > 0, np.round(np.exp(3 + 0.7 * z[:, 1] + 0.4 * random.normal(size=n)) * orders), 0)
        contract = self._pick(CONTRACTS, self.mix, 0.5 * z[:, 2], random)
        frame: Frame = {
            "income": np.round(75_000 * np.exp(self.income * (0.6 * z[:, 0] + 0.8 * z[:, 3]) - self.income**2 / 2)),
            "tenure": tenure,
            "monthly": monthly,
            "total": np.round(tenure * monthly * np.exp(0.05 * random.normal(size=n)), 2),
            "age": np.floor(18 + 60 * random.beta(2, 3, n)),
            "orders": orders.astype(np.float64),
            "spend": spend,
            "recency": np.floor(random.exponential(40, n)),
            "usage": random.gamma(2.0, 3.0, n) * np.exp(0.3 * z[:, 0]),
            "balance": np.where(random.random(n) < 0.02, np.nan, random.normal(100, 60, n) + 20 * z[:, 1]),
            "calls": random.poisson(1.2, n).astype(np.float64),
            "speed": np.round(50 + 15 * (0.8 * z[:, 2] + 0.6 * random.normal(size=n)), 1),
            "load": np.round(50 + 15 * (0.8 * z[:, 2] + 0.6 * random.normal(size=n)), 1),
            "contract": contract,
            "internet": self._pick(INTERNET, np.array([0.44, 0.34, 0.22]), z[:, 0], random),
            "payment": random.choice(PAYMENTS, n, p=self.payments),
            "region": random.choice(REGIONS, n, p=self.regions),
            "partner": random.random(n) < 0.48,
            "support": np.where(random.random(n) < 0.29, "yes", "no").astype(object),
            "senior": random.random(n) < 0.20,
        }
        w = self.weights
        margin = (
            -1.4
            + w[0] * z[:, 0]
            + w[1] * z[:, 1]
            - 0.9 * (contract == "two years")
            + 0.5 * (contract == "monthly")
            - 0.02 * tenure
            + 0.3 * frame["senior"]
            + w[2] * z[:, 2]
        )
        frame["score"] = 1 / (1 + np.exp(-margin))
        if hasattr(self, "threshold"):
            frame["decision"] = np.where(frame["score"] >= self.threshold, "act", "leave").astype(object)
        frame["outcome"] = random.random(n) < frame["score"]
        if day is not None:
            frame["day"] = day
        return frame

    def reference(self, n: int, random: Generator, days: int = 0, season: float = 0.0) -> Frame:
        """The training set: of so many days, or of none."""
        return self.draw(n, random, np.sort(random.integers(0, days, n)) if days else None, season)

    def _pick(self, levels: np.ndarray[Any, Any], mix: np.ndarray[Any, Any], tilt: Any, random: Generator) -> Any:
        """A level per row, the first one the more likely the higher its tilt."""
        odds = np.log(mix)[:, None] + np.outer([0.5, 0, -0.5], tilt)
        return levels[(odds + random.gumbel(size=odds.shape)).argmax(axis=0)]
