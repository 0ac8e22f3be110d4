"""``python -m cis_server`` and the command ``cis-server``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from cis_server.cli import run
    except ModuleNotFoundError as missing:
        sys.exit(f"cis-server: {missing.name} is not installed; install cis[server]")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
