"""Generates `cis_client/v1` from the protos.

    python proto/generate.py            write cis_client/v1
    python proto/generate.py --check    write nothing; exit 1 when cis_client/v1 differs
    python proto/generate.py --release  also record the contract as released, for `buf breaking`

protoc (of grpcio-tools) writes modules that import each other as `cis.v1`, because that is the
proto package; they are installed as `cis_client.v1`, so that one name in the modules is rewritten.
Descriptors keep the names `cis/v1/*.proto`, which server reflection shows.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PROTO = Path(__file__).resolve().parent
PACKAGE = PROTO.parent / "cis_client" / "v1"
RELEASED = PROTO.parent / "tests" / "data" / "released.binpb"

INIT = '"""Generated from `proto/cis/v1` by `proto/generate.py`; do not edit."""\n'

_MODULE = re.compile(r"\bcis\.v1(?=\.\w+_pb2| import )")
"""The package in import lines and in the module name that messages carry, and nowhere else: full
names of messages and methods continue differently."""


def sources() -> list[str]:
    """Paths of the protos below `proto`, sorted."""
    return sorted(path.relative_to(PROTO).as_posix() for path in PROTO.glob("cis/v1/*.proto"))


def generate(target: Path) -> None:
    """Writes the package into `target`, an existing empty or outdated folder.

    Raises:
        SystemExit: a proto does not compile.
    """
    with tempfile.TemporaryDirectory() as folder:
        _protoc(
            f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
            f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            f"--mypy_out=quiet:{folder}",
            f"--mypy_grpc_out=quiet,generate_concrete_servicer_stubs:{folder}",
        )
        for stale in target.glob("*.py*"):
            stale.unlink()
        for module in sorted((Path(folder) / "cis" / "v1").iterdir()):
            # grpc_python also writes modules for protos without a service; they hold nothing.
            if _is_empty_grpc_module(module.name):
                continue
            text = _MODULE.sub("cis_client.v1", module.read_text(encoding="utf-8"))
            (target / module.name).write_text(text, encoding="utf-8")
    (target / "__init__.py").write_text(INIT, encoding="utf-8")


def release(target: Path) -> None:
    """Writes the descriptor set of all protos, without comments, to the file `target`."""
    _protoc("--include_imports", f"--descriptor_set_out={target}")


def differences(left: Path, right: Path) -> list[str]:
    """Names of the modules that only one folder has or whose content differs, sorted."""
    names = {path.name for folder in (left, right) for path in folder.glob("*.py*")}
    _, mismatch, errors = filecmp.cmpfiles(left, right, names, shallow=False)
    return sorted(mismatch + errors)


def _is_empty_grpc_module(name: str) -> bool:
    return "_pb2_grpc." in name and not name.startswith(
        tuple(Path(source).stem for source in sources() if source.endswith("_service.proto"))
    )


def _protoc(*arguments: str) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *arguments, *sources()]
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        raise SystemExit(f"protoc failed with exit code {code}")


def _plugin(name: str) -> Path:
    suffix = ".exe" if os.name == "nt" else ""
    path = Path(sysconfig.get_path("scripts")) / f"{name}{suffix}"
    if not path.exists():
        raise SystemExit(f"{path} is missing: install the extra `dev`")
    return path


def main() -> int:
    """Runs the command line; 0 when done or equal, 1 when the committed package differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--release", action="store_true", help="record the contract as released")
    options = parser.parse_args()
    if options.check:
        with tempfile.TemporaryDirectory() as folder:
            generate(Path(folder))
            changed = differences(PACKAGE, Path(folder))
        for name in changed:
            sys.stderr.write(f"{name} is not what the protos say: run python proto/generate.py\n")
        return 1 if changed else 0
    PACKAGE.mkdir(parents=True, exist_ok=True)
    generate(PACKAGE)
    if options.release:
        RELEASED.parent.mkdir(parents=True, exist_ok=True)
        release(RELEASED)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
