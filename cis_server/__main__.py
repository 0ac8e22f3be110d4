"""``python -m cis_server`` and the command ``cis-server``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from cis_server.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
