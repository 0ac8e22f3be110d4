"""What the README and the pages say to type works, and what they point to is there.

The README's blocks are run in order from this checkout against a server of the test. Two things are
replaced in them: `.venv/bin/` by the folder of the Python that runs the tests, and port 50051 (in
Python: the default target) by a free one. `make demo` and `make test` are only planned
(`make --dry-run`), as they would run these tests again.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from doc_pages import (
    PAGES,
    README,
    ROOT,
    Block,
    blocks,
    clean_environment,
    free_port,
    run_block,
    short_folder,
)
from running_server import wait_until

from cis_client import cli as cis_cli
from cis_server import cli as server_cli
from cis_server.settings import Settings

OPERATIONS = ROOT / "docs" / "operations.md"
BUF = ROOT / "proto" / "node_modules" / ".bin"
PROGRAMS = Path(sys.executable).parent


class Reader:
    """Somebody who does what the README says."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.environment = clean_environment(
            CIS_DATA_DIR=str(folder / "data"),
            CIS_PORT=str(self.port),
            CIS_HTTP_PORT=str(free_port()),
            PYTHONPATH=str(ROOT),
        )
        self.environment["PATH"] += os.pathsep + str(BUF)

    def do(self, block: Block) -> str:
        text = block.text.replace(".venv/bin/", f"{PROGRAMS}/").replace("50051", str(self.port))
        if block.language == "python":
            text = text.replace(
                "with Client() as",
                f"from cis_client import ClientOptions\n"
                f"with Client(ClientOptions(target='127.0.0.1:{self.port}')) as",
            )
            script = self.folder / "readme.py"
            script.write_text(text, encoding="utf-8")
            text = f"{sys.executable} {script}"
        return run_block(Block(block.language, text, block.line), ROOT, self.environment)


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """A reader who has typed the command that starts the server, and waited for it."""
    (serve,) = (block for block in blocks(README, "sh") if "cis-server" in block.text)
    command = shlex.split(serve.text)
    assert command == [".venv/bin/cis-server", "serve"]
    with short_folder() as folder:
        reader = Reader(folder)
        said = folder / "serve.out"
        with said.open("wb") as out, (folder / "serve.err").open("wb") as err:
            server = subprocess.Popen(
                [str(PROGRAMS / "cis-server"), *command[1:]],
                cwd=ROOT,
                env=reader.environment,
                stdout=out,
                stderr=err,
            )

        def ready() -> bool:
            assert server.poll() is None, (folder / "serve.err").read_text()
            return "health on" in said.read_text()

        try:
            wait_until(ready, 90.0, "serving")
            yield reader
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()


@pytest.fixture(scope="module")
def first_score(reader: Reader) -> str:
    """What the README's Python example prints."""
    (example,) = blocks(README, "python")
    return reader.do(example)


def test_the_first_score_in_python(first_score: str) -> None:
    score, reasons = first_score.strip().split(" ", 1)
    assert 0 < int(score) <= 100
    assert "e-mail" in reasons or "title" in reasons


@pytest.mark.usefixtures("first_score")  # the client has to exist
@pytest.mark.skipif(not (BUF / "buf").exists(), reason="buf is not installed in proto/")
def test_the_first_score_from_a_shell(reader: Reader) -> None:
    (call,) = (block for block in blocks(README, "sh") if "buf curl" in block.text)
    answer = reader.do(call)
    assert '"score"' in answer
    assert '"leadId": "42"' in answer


def test_there_is_no_other_block_in_the_readme() -> None:
    """So that nothing is added that no test runs."""
    tools = [set(re.findall(r"^(?:\.venv/bin/)?([\w-]+)", b.text, re.MULTILINE))
             for b in blocks(README, "sh")]  # fmt: skip
    assert tools == [{"make"}, {"cis-server"}, {"buf"}]
    assert len(blocks(README, "python")) == 1
    languages = set(re.findall(r"^```(\w+)$", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert languages == {"sh", "python", "mermaid"}


def make_commands() -> list[str]:
    found = {
        match[1].strip()
        for page in PAGES
        for block in blocks(page, "sh")
        for match in re.finditer(r"^(make [^#\n]*)", block.text, re.MULTILINE)
    }
    return sorted(found)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.parametrize("command", [*make_commands(), "make demo ONCE=1"])
def test_make_has_the_target(command: str) -> None:
    planned = subprocess.run(
        [*shlex.split(command), "--dry-run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert planned.returncode == 0, planned.stderr
    assert "ONCE" not in command or "demo --once" in planned.stdout


def test_the_two_commands_are_those_of_the_readme() -> None:
    assert {"make demo", "make test"} <= set(make_commands())


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text).strip().lower().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if urlsplit(target).scheme:
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []


def test_every_page_is_linked_from_the_readme() -> None:
    readme = README.read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in readme] == []


def settings() -> set[str]:
    return {f"CIS_{name.upper()}" for name in Settings.model_fields}


def variables(page: Path) -> set[str]:
    return set(re.findall(r"\bCIS_[A-Z_]+\b", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_on_the_pages_are_settings(page: Path) -> None:
    assert variables(page) - settings() - {cis_cli.TARGET_VARIABLE} == set()


def test_every_setting_is_documented() -> None:
    assert settings() - variables(OPERATIONS) == set()


@pytest.mark.parametrize(
    ("variable", "default"),
    [
        (f"CIS_{name.upper()}", field.default)
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, int | float | str)
    ],
)
def test_defaults_on_the_page_are_those_in_force(variable: str, default: object) -> None:
    for row in re.findall(r"^\| (`CIS_.*?) \| (.*?) \|", OPERATIONS.read_text(), re.MULTILINE):
        names = re.findall(r"CIS_[A-Z_]+", row[0])
        if variable in names:
            shown = row[1].split(", ")[names.index(variable)]
            break
    assert shown == written(default)


def written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value % 2**20 == 0:
        return f"{value // 2**20} MiB"
    return f"{value:g}" if isinstance(value, float) else str(value)


def typed_commands() -> list[tuple[str, list[str]]]:
    """Every `cis` and `cis-server` command in the blocks of the pages, with its arguments."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            text = re.sub(r"<<'(\w+)'\n.*?^\1$", "", block.text, flags=re.DOTALL | re.MULTILINE)
            for line in text.replace("\\\n", " ").splitlines():
                match = re.match(r"(?:\.venv/bin/)?(cis|cis-server) (.*)", line)
                if match is not None:
                    found.append((match[1], shlex.split(match[2], comments=True)))
    return found


@pytest.mark.parametrize(("program", "arguments"), typed_commands())
def test_commands_in_blocks_can_be_parsed(program: str, arguments: list[str]) -> None:
    parsed = (cis_cli if program == "cis" else server_cli)._parser().parse_args(arguments)
    assert callable(parsed.command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page.read_text(encoding="utf-8")
    for program, command in set(re.findall(r"`(cis|cis-server) ([a-z][a-z-]+)\b", text)):
        parser = (cis_cli if program == "cis" else server_cli)._parser()
        with pytest.raises(SystemExit) as ended:
            parser.parse_args([command, "--help"])
        assert ended.value.code == 0, f"{program} {command}: {capsys.readouterr().err}"


@pytest.mark.parametrize(
    ("program", "page"), [("cis-server", OPERATIONS), ("cis", ROOT / "docs" / "serving.md")]
)
def test_every_command_is_on_a_page(
    program: str, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = (cis_cli if program == "cis" else server_cli)._parser()
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    commands = re.findall(r"^    ([a-z][a-z-]+) {2,}\S", capsys.readouterr().out, re.MULTILINE)
    assert len(commands) > 5
    text = page.read_text(encoding="utf-8")
    assert [name for name in commands if f"`{program} {name}" not in text] == []
