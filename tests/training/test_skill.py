"""Skill and calibration, with chance taken off."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.test_promotion import customers, sigmoid
from training.skill import excess_ece, skill


def test_skill_is_what_is_spared_of_the_log_loss_of_knowing_nothing() -> None:
    label, margin = customers(20_000)
    own = skill(label, sigmoid(margin))
    share = label.mean()
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    loss = -np.log(np.where(label, sigmoid(margin), 1 - sigmoid(margin))).mean()
    assert own == pytest.approx(1 - loss / entropy, abs=1e-3)
    assert skill(label, sigmoid(0.3 * margin + 2)) == pytest.approx(own, abs=1e-6)  # calibration is another matter
    assert skill(label, np.full(len(label), 0.3)) == pytest.approx(0, abs=1e-6)
    assert skill(label, np.where(label, 1.0, 0.0)) == pytest.approx(1, abs=1e-3)


def test_chance_is_taken_off_the_calibration_error() -> None:
    label, margin = customers(1_500)
    assert abs(excess_ece(label, sigmoid(margin))) < 0.012
    assert excess_ece(label, sigmoid(margin + 1)) > 0.1
