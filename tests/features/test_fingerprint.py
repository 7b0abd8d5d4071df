"""The fingerprint changes exactly with the meaning of the features; what could change unseen is refused."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import pytest
from pydantic import Field

from features.aggregates import Aggregate, FeatureError, Where
from features.clock import DAY
from features.contract import Contract, Key, Money, Timestamp
from features.featureset import FeatureSet
from features.fingerprint import source_of

ROOT = Path(__file__).parents[2]
_NUMBERS = count()

BASE = """
import numpy as np
import math
from features import clock
from features.clock import HOUR

DAY = 3
RATES = {"low": [1, 2.5], "high": (None, True)}
LEVELS = {"b", "a"}
TABLE = np.array([1.0, 2.0])


def helper(values):
    return inner(values) * RATES["low"][0]


def inner(values):
    return values + DAY


def feature(orders):
    return helper(orders) / clock.DAY + HOUR
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[_Modules]:
    """Writes source as a module of its own and loads it."""
    modules = _Modules(tmp_path)
    yield modules
    for name in modules.names:
        sys.modules.pop(name, None)


class _Modules:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: list[str] = []

    def __call__(self, source: str, name: str | None = None) -> ModuleType:
        name = name or f"toy_{next(_NUMBERS)}"
        path = self.directory / f"{name}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        found = importlib.util.module_from_spec(spec)
        sys.modules[name] = found
        self.names.append(name)
        spec.loader.exec_module(found)
        return found

    def lines(self, source: str) -> list[str]:
        """What the fingerprint holds of the module's `feature`."""
        return source_of(self(source).feature)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    return inner", "    # why\n    return inner"),
        ("def inner(values):\n", 'def inner(values):\n    """A docstring."""\n'),
        ("def feature(orders):\n", "def feature(orders: 'int') -> 'np.ndarray':\n"),
        ("    return values + DAY", "    return (\n        values\n        + DAY\n    )"),
        ("DAY = 3", "DAY = 1 + 2"),
        ("RATES = {", "UNUSED = 5\nRATES = {"),
        ('{"low": [1, 2.5], "high": (None, True)}', '{"high": (None, True), "low": [1, 2.5]}'),
        ("def feature", "\n\n\ndef unused(orders):\n    return orders\n\n\ndef feature"),
    ],
)
def test_unchanged_by_what_has_no_meaning(module: _Modules, old: str, new: str) -> None:
    assert old in BASE
    assert module.lines(BASE) == module.lines(BASE.replace(old, new))


def test_unchanged_by_annotating_a_local_variable(module: _Modules) -> None:
    plain = "def feature(orders):\n    x = orders\n    return x\n"
    assert module.lines(plain) == module.lines(plain.replace("x =", "x: 'float' ="))


def test_unchanged_by_the_file_s_name_and_place(module: _Modules, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    assert source_of(module(BASE, "toy_before").feature) == source_of(module(BASE, "toy_after").feature)
    module.directory = tmp_path / "moved"
    assert source_of(module(BASE, "toy_before").feature) == module.lines(BASE)


def test_unchanged_by_a_docstring_alone_in_a_body(module: _Modules) -> None:
    source = "def nothing():\n    pass\n\n\ndef feature(orders):\n    nothing()\n    return orders\n"
    assert module.lines(source) == module.lines(source.replace("    pass", '    """Nothing."""'))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DAY = 3", "DAY = 4"),
        ("DAY = 3", "DAY = 3.0"),
        ("values + DAY", "values - DAY"),
        ("[1, 2.5]", "[1, 2.6]"),
        ("[1, 2.5]", "(1, 2.5)"),
        ("(None, True)", "(None, 1)"),
        ("inner(values) *", "(values + DAY) *"),
        ("clock.DAY", "clock.HOUR"),
        ("from features.clock import HOUR", "from features.clock import MINUTE as HOUR"),
    ],
)
def test_changed_by_everything_that_is_reached(module: _Modules, old: str, new: str) -> None:
    assert old in BASE
    assert module.lines(BASE) != module.lines(BASE.replace(old, new))


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        ("LEVELS = {'a', 'b'}\ndef feature(x):\n    return x in LEVELS\n", "'b'}", "'c'}"),
        ("import numpy as np\nT = np.array([1, 2])\ndef feature(x):\n    return T[0]\n", "2]", "3]"),
        ("import numpy as np\nT = np.array([1, 2])\ndef feature(x):\n    return T[0]\n", "2]", "2], dtype='i4'"),
        ("import numpy as np\nfrom numpy import log as f\ndef feature(x):\n    return f(x)\n", "log as", "exp as"),
        ("from math import log as f\ndef feature(x):\n    return f(x)\n", "from math", "from numpy"),
        ("K = 1\ndef feature(x, ):\n    return [K for _ in x]\n", "K = 1", "K = 2"),
        ("K = 1\ndef feature(x):\n    return (lambda y: y * K)(x)\n", "K = 1", "K = 2"),
        ("K = 1\ndef feature(x):\n    def nested(y):\n        return y * K\n    return nested(x)\n", "K = 1", "K = 2"),
        ("K = 1\ndef h(x, k=K):\n    return x * k\ndef feature(x):\n    return h(x)\n", "K = 1", "K = 2"),
        ("K = 1\ndef feature(x):\n    y = [K for K in (1, 2)]\n    return x * K + y[0]\n", "K = 1", "K = 2"),
        ("K = 1\ndef feature(x):\n    f = lambda K: K\n    return f(x) * K\n", "K = 1", "K = 2"),
        ("K = 1\ndef feature(x):\n    def g(K):\n        return K\n    return g(x) * K\n", "K = 1", "K = 2"),
        (
            "K = 1\ndef d(k):\n    def w(f):\n        return f\n    return w\n@d(K)\ndef feature(x):\n    return x\n",
            "K = 1",
            "K = 2",
        ),
        ("def h(k):\n    def f(x):\n        return x * k\n    return f\nfeature = h(1)\n", "h(1)", "h(2)"),
        (
            "def h(k):\n    def f(x):\n        return x * k\n    return f\na, b = h(1), h(2)\ndef feature(x):\n"
            "    return a(x) - b(x)\n",
            "h(1), h(2)",
            "h(1), h(3)",
        ),
        (
            "def h(k):\n    def f(x):\n        return x * k\n    return f\na, b = h(1), h(2)\ndef feature(x):\n"
            "    return a(x) - b(x)\n",
            "h(1), h(2)",
            "h(2), h(1)",
        ),
        (
            "def p(x):\n    return x\ndef q(x):\n    return -x\na, b = p, q\n"
            "def feature(x):\n    return a(x) - 2 * b(x)\n",
            "a, b = p, q",
            "a, b = q, p",
        ),
    ],
)
def test_changed_through_every_scope(module: _Modules, source: str, old: str, new: str) -> None:
    assert source.count(old) == 1
    assert module.lines(source) != module.lines(source.replace(old, new))


def test_constants_of_one_name_in_two_modules_are_two_constants(module: _Modules) -> None:
    shared = "RATE = {}\n\n\ndef scale(x):\n    return x * RATE\n"
    source = "from features.toy_shared import scale\nRATE = {}\n\n\ndef feature(x):\n    return scale(x) * RATE\n"
    found = []
    for theirs, ours in ((7, 2), (8, 2), (7, 3), (2, 7)):
        module(shared.format(theirs), "features.toy_shared")
        found.append(tuple(module.lines(source.format(ours))))
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("from textwrap import dedent\ndef feature(x):\n    return dedent(x)\n", ["dedent", "textwrap"]),
        ("import textwrap\ndef feature(x):\n    return textwrap.dedent(x)\n", ["textwrap"]),
        ("import time\ndef feature(x):\n    return x + time.time()\n", ["time"]),
        ("from time import time\ndef feature(x):\n    return x + time()\n", ["time"]),
        ("import random\ndef feature(x):\n    return x + random.random()\n", ["random"]),
        ("import numpy as np\ndef feature(x):\n    return x + np.random.normal(len(x))\n", ["np.random.normal"]),
        ("from numpy.random import normal\ndef feature(x):\n    return x + normal(len(x))\n", ["normal"]),
        ("import numpy as np\nR = np.random.default_rng(1)\ndef feature(x):\n    return x + R.normal()\n", ["R"]),
        ("from scipy.special import expit\ndef feature(x):\n    return expit(x)\n", ["expit"]),
        ("import pandas as pd\ndef feature(x):\n    return pd.Series(x)\n", ["pd"]),
        (
            "from functools import partial\ndef g(x, k):\n    return x\nh = partial(g, k=1)\ndef feature(x):\n"
            "    return h(x)\n",
            ["'h'"],
        ),
        ("class State:\n    n = 0\ndef feature(x):\n    return x + State.n\n", ["State"]),
        ("h = lambda x: x\ndef feature(x):\n    return h(x)\n", ["lambda"]),
        ("def feature(x):\n    import time\n    return x + time.time()\n", ["imports"]),
        ("def feature(x):\n    return x + missing\n", ["missing"]),
        ("import settings\ndef feature(x):\n    return x + len(settings.PREFIX)\n", ["settings"]),
        ("import time\ndef feature(x, ):\n    return [time.time() for _ in x]\n", ["time"]),
        ("import time\ndef h(x):\n    return time.time()\ndef feature(x):\n    return h(x)\n", ["feature", "time"]),
        ("from functools import cache\n@cache\ndef h(x):\n    return x\ndef feature(x):\n    return h(x)\n", ["'h'"]),
    ],
)
def test_what_could_change_unseen_is_refused_by_name(module: _Modules, source: str, named: list[str]) -> None:
    with pytest.raises(FeatureError) as refused:
        module.lines(source)
    assert all(name in str(refused.value) for name in [*named, "feature"]), refused.value


def test_a_function_without_source_is_refused() -> None:
    scope: dict[str, object] = {"__name__": "nowhere"}
    exec("def feature(x):\n    return x\n", scope)  # noqa: S102  # a function that has no file
    with pytest.raises(FeatureError, match="'feature'"):
        source_of(scope["feature"])  # type: ignore[arg-type]  # it is callable


class Order(Contract):
    customer_id: Key
    at: Timestamp
    paid: Annotated[Money, Field(ge=0, le=500)]
    kind: Literal["a", "b"]


class Stricter(Contract):
    customer_id: Key
    at: Timestamp
    paid: Annotated[Money, Field(ge=0, le=400)]
    kind: Literal["a", "b"]


class Wider(Contract):
    customer_id: Key
    at: Timestamp
    paid: Annotated[Money, Field(ge=0, le=500)]
    kind: Literal["a", "b", "c"]


def one(orders: object) -> object:
    return orders


def two(orders: object) -> object:
    return (orders, DAY)


def of(events: type[Contract] = Order, inputs: tuple[str, ...] = ("orders", "spend"), **changes: object) -> str:
    """Fingerprint of a small feature set, with changes."""
    where = [Where("kind", "=", str(changes.get("kind", "a")))]
    window = int(str(changes.get("window", 7 * DAY)))
    spend = Aggregate.sum("spend", "paid", window=window, where=where)
    rows = (two, one) if changes.get("turned") else (one, two)
    return FeatureSet(inputs, events, None, (Aggregate.count("orders"), spend), rows).fingerprint  # type: ignore[arg-type]  # bodies that never run


def test_a_feature_set_s_fingerprint_follows_its_declarations() -> None:
    found = [
        of(),
        of(window=7 * DAY + 1),
        of(kind="b"),
        of(events=Stricter),
        of(events=Wider),
        of(inputs=("spend", "orders")),
        of(inputs=("orders", "spend", "one")),
    ]
    assert len(set(found)) == len(found)


def test_the_order_in_which_row_features_are_listed_does_not_matter() -> None:
    assert of() == of(turned=True)


def test_equal_in_another_process_with_another_hash_seed(module: _Modules) -> None:
    source = (
        BASE
        + "\n\ndef more(orders):\n    return orders in LEVELS, RATES, {1, 2}, TABLE[0], math.log(2), helper(orders)\n"
    )
    path = Path(module(source).__file__ or "")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import importlib; from features.fingerprint import source_of; import usecases\n"
        "m = importlib.import_module(sys.argv[2])\n"
        "print(source_of(m.feature), source_of(m.more))\n"
        "print([usecases.load(name).features.fingerprint for name in usecases.names()])"
    )
    answers = set()
    for seed in ("1", "2", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, str(path.parent), path.stem]
        answers.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(answers) == 1
    assert "LEVELS" in answers.pop()
