"""buf's own judgement of the protos: lint, and nothing that breaks a released caller."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUF = ROOT / "proto" / "node_modules" / ".bin" / "buf"
RELEASED = ROOT / "tests" / "data" / "released.binpb"

pytestmark = pytest.mark.skipif(not BUF.exists(), reason="buf is not installed in proto/")


def buf(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BUF, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The protos in a folder of their own, to be spoilt."""
    folder = tmp_path / "proto"
    shutil.copytree(ROOT / "proto", folder, ignore=shutil.ignore_patterns("node_modules"))
    return folder


def spoil(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / "cis" / "v1" / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_lint_is_clean() -> None:
    result = buf("lint", "proto")
    assert result.returncode == 0, result.stdout + result.stderr


def test_layout_is_buf_format() -> None:
    result = buf("format", "--exit-code", "--diff", "proto")
    assert result.returncode == 0, result.stdout + result.stderr


def test_nothing_breaks_released_callers() -> None:
    result = buf("breaking", "proto", "--against", RELEASED)
    assert result.returncode == 0, result.stdout + result.stderr


def test_renumbered_field_is_noticed(copied: Path) -> None:
    spoil(copied, "core.proto", "  int32 score = 2;", "  int32 score = 16;")
    result = buf("breaking", copied, "--against", RELEASED)
    assert result.returncode != 0
    assert "core.proto" in result.stdout


def test_missing_comment_is_noticed(copied: Path) -> None:
    spoil(copied, "core.proto", "  // Leads in tier HOT.\n", "")
    result = buf("lint", copied)
    assert result.returncode != 0
    assert "hot" in result.stdout
