"""Pages of the documentation as tests read them: their blocks, links and words."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int


def blocks(page: Path, *languages: str) -> list[Block]:
    """The page's fenced blocks of these languages, in order."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [
        Block(each[1], each[2], text.count("\n", 0, each.start()) + 1)
        for each in found
        if each[1] in languages
    ]


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of ours, with our programs first in the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CIS_")}
    programs = str(Path(sys.executable).parent)
    return {
        **kept,
        "PATH": os.pathsep.join((programs, kept["PATH"])),
        # Compiled once for all tests; the next run finds them.
        "CIS_NUMBA_CACHE_DIR": str(ROOT / ".pytest_cache" / "kernels"),
        **settings,
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder whose path the embedded database's account may pass (pytest's own
    folders are closed to it when the tests run as root)."""
    folder = Path(tempfile.mkdtemp(prefix="cis-docs-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_block(block: Block, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a block as a reader would; what it wrote. Fails when a command of it fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, f"line {block.line}: {block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def masked(line: str) -> str:
    """A line of output without what differs from run to run: figures, weekdays and spacing.

    What stays are the words and the number of columns, so that an excerpt on a page has to have
    the form of what is really printed.
    """
    line = re.sub(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b", "Day", line)
    return " ".join(re.sub(r"[<]?\d[\d ,.:\u2009]*\d|[<]?\d", "#", line).split())
