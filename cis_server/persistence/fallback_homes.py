"""Where root's embedded servers live when their account cannot reach the data folder.

Each such home is a folder of its own below one root, named by a hash of the data folder, which it
names inside. Data folders below the system's temporary folders come and go (tests, trials), and
whoever removes one does not know of the home; so a home whose temporary data folder is gone is an
orphan. Other homes are nobody's to remove: their disk may only be away.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = "of-"
_ORIGIN: Final = "origin"


def fallback_home(root: Path, data_dir: Path) -> Path:
    """The folder for a data folder; made, with the path of the data folder inside, when missing.

    Args:
        root: of all homes.
        data_dir: absolute.
    """
    name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    home = root / f"{_PREFIX}{name}"
    home.mkdir(parents=True, exist_ok=True)
    origin = home / _ORIGIN
    if not origin.exists():
        origin.write_text(str(data_dir))
    return home


def orphans(root: Path) -> Iterator[Path]:
    """Homes whose data folder was a temporary one and is gone."""
    for home in sorted(root.glob(f"{_PREFIX}*")):
        if is_orphan(home):
            yield home


def is_orphan(home: Path) -> bool:
    """Whether the data folder of a home was a temporary one and is gone."""
    try:
        data_dir = Path((home / _ORIGIN).read_text())
    except OSError:
        return False
    return not data_dir.exists() and any(
        data_dir.is_relative_to(folder) for folder in _temporary_folders()
    )


def _temporary_folders() -> tuple[Path, ...]:
    return Path("/tmp"), Path("/var/tmp"), Path(tempfile.gettempdir())
