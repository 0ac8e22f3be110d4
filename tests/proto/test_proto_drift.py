"""The committed modules are what the protos say."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "proto" / "generate.py"
PACKAGE = ROOT / "cis_client" / "v1"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("proto_generate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_committed_modules_are_up_to_date() -> None:
    result = subprocess.run(
        [sys.executable, SCRIPT, "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_a_changed_a_missing_and_an_extra_module_are_named(
    generate: ModuleType, tmp_path: Path
) -> None:
    copy = tmp_path / "v1"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert generate.differences(PACKAGE, copy) == []
    (copy / "core_pb2.pyi").write_text("changed\n", encoding="utf-8")
    (copy / "patterns_pb2.py").unlink()
    (copy / "extra_pb2.py").touch()
    assert generate.differences(PACKAGE, copy) == [
        "core_pb2.pyi",
        "extra_pb2.py",
        "patterns_pb2.py",
    ]


def test_every_service_has_typed_stubs(generate: ModuleType) -> None:
    for source in generate.sources():
        stem = Path(source).stem
        suffixes = ["_pb2.py", "_pb2.pyi"]
        if stem.endswith("_service"):
            suffixes += ["_pb2_grpc.py", "_pb2_grpc.pyi"]
        for suffix in suffixes:
            assert (PACKAGE / f"{stem}{suffix}").is_file()


def test_modules_name_their_installed_package() -> None:
    """Pickling and reprs of messages need the name under which a module can be imported."""
    for module in PACKAGE.glob("*.py*"):
        text = module.read_text(encoding="utf-8")
        assert "from cis.v1" not in text
        assert "import cis.v1" not in text
        assert "'cis.v1.core_pb2'" not in text


def test_released_set_can_be_written_again(generate: ModuleType, tmp_path: Path) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    generate.release(tmp_path / "set.binpb")
    files = FileDescriptorSet.FromString((tmp_path / "set.binpb").read_bytes()).file
    assert {file.name for file in files} >= set(generate.sources())
