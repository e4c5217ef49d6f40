"""Examples of README and docs show their output, and commands print what the pages say.

The output of Python examples is compared by doctest (`make docs`). Commands stand in blocks of their own: three
backticks and ``console``, then ``$ nlpkit ...`` and below it what it prints; ``...`` stands for any text.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from nlpkit.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Verbs that answer on the shipped model, and what shows that a command needs something else.
ANSWERING = ("tokenize", "fill-mask", "classify", "segment", "parse")
ELSEWHERE = re.compile(r"\s(--model|-m|--file|-f|--evaluate|--vocabulary|<)\s|\|")


class Block(NamedTuple):
    """A block of code in a page."""

    line: int
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    found = re.finditer(r"^(`{3,})(\w*)\n(.*?)^\1$", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for match in found:
        yield Block(match.string.count("\n", 0, match.start()) + 1, match[2], match[3])


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a block of ``$`` lines, each with its output."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.replace("\\\n", " ").partition("\n")
        yield command, output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_examples_show_their_output(page: Path) -> None:
    silent = [
        f"{page.name}, line {block.line}"
        for block in blocks(page)
        if block.language in ("python", "py")
        and not any(example.want for example in doctest.DocTestParser().get_examples(block.text))
    ]
    assert not silent, "write the block with >>> and what it prints"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_on_the_shipped_model_show_their_output(page: Path) -> None:
    silent = [
        f"{page.name}, line {block.line}: {line}"
        for block in blocks(page)
        if block.language != "console"
        for line in block.text.replace("\\\n", " ").split("\n")
        if re.match(rf"nlpkit ({'|'.join(ANSWERING)})\b", line) and not ELSEWHERE.search(line)
    ]
    assert not silent, "make it a block of ```console: $ nlpkit ..., and what it prints"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_print_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for block in blocks(page):
        if block.language == "console":
            for command, wanted in commands(block):
                verb, *arguments = shlex.split(command)
                assert verb == "nlpkit", f"{page.name}, line {block.line}: only nlpkit's own commands are run"
                result = CliRunner().invoke(app, arguments, env={**os.environ, "COLUMNS": "120"})
                assert result.exit_code == 0, f"{command}: {result.output}"
                assert doctest.OutputChecker().check_output(wanted, result.stdout, flags), (
                    f"{page.name}, line {block.line}: {command}\nprints\n{result.stdout}\nnot\n{wanted}"
                )


def test_every_public_set_that_a_recipe_names_has_a_row() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "data.md").read_text("utf-8"), flags=re.MULTILINE)
    named = {
        path
        for settings in (ROOT / "recipes" / "configs").rglob("*.yaml")
        for path in re.findall(r"\$NLPKIT_DATA/([^\s,\]\"']+)", settings.read_text("utf-8"))
    }
    assert named, "no settings name public data"
    assert [path for path in sorted(named) if not any(path.startswith(row) for row in rows)] == []


def test_a_reader_of_blocks_finds_commands_and_outputs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "text\n\n```console\n$ nlpkit a \\\n    b\nout\n\n$ nlpkit c\n```\n\n```python\n>>> 1\n1\n```\n", "utf-8"
    )
    console, python = blocks(page)
    assert (console.line, console.language, python.language) == (3, "console", "python")
    assert list(commands(console)) == [("nlpkit a      b", "out\n\n"), ("nlpkit c", "")]
