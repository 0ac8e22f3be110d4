"""What is computed depends on its arguments: no layer below the outside reads the clock
or draws unseeded numbers. Otherwise no run could be repeated.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "cis_server"
PURE = ("domain", "stats", "scoring", "detectors", "learning", "capture")
CLOCKS = {"now", "utcnow", "today"}
CHANCE = {"random", "secrets", "time", "uuid.uuid1", "uuid.uuid4"}
MEASURED = {"detectors/runner.py": {"import time"}}
"""How long a detector took is told beside its pattern, and is no part of it."""


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Names of modules, and of what is taken out of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = (node.module or "").split(".")[0]
            yield from (module, *(f"{module}.{name.name}" for name in node.names))


def offences(source: str) -> list[str]:
    """Calls that answer differently from one time to the next."""
    tree = ast.parse(source)
    found = [f"import {name}" for name in imported(tree) if name in CHANCE]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = ast.unparse(node.func)
        owner, _, name = called.rpartition(".")
        clock = name in CLOCKS and owner.split(".")[-1] in {"datetime", "date"}
        unseeded = name == "default_rng" and not node.args and not node.keywords
        shared = owner in {"np.random", "numpy.random"} and name.islower() and name != "default_rng"
        if clock or unseeded or shared or called in CHANCE:
            found.append(f"line {node.lineno}: {called}()")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import datetime as dt\nx = dt.datetime.now(dt.UTC)",
        "import datetime\nx = datetime.date.today()",
        "import time",
        "from random import choice",
        "import numpy as np\nx = np.random.default_rng()",
        "import numpy as np\nx = np.random.normal()",
        "from uuid import uuid4",
        "import uuid\nx = uuid.uuid4()",
    ],
)
def test_the_check_sees_a_clock_and_a_die(source: str) -> None:
    assert offences(source)


@pytest.mark.parametrize("path", modules(*PURE), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_clock_and_no_unseeded_draw_in_what_computes(path: Path) -> None:
    allowed = MEASURED.get(str(path.relative_to(ROOT)), set())
    assert set(offences(path.read_text(encoding="utf-8"))) <= allowed
