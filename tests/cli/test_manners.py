"""What all verbs do alike: version, help, errors of one line, silence in pipes."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nlpkit
from nlpkit.cli import app
from nlpkit.cli.manners import hush_kernels
from nlpkit.one_line import one_line
from nlpkit.version import __version__

Call = Callable[..., str]


def in_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A call in a process of its own, whose standard error is a pipe."""
    command = [sys.executable, "-m", "nlpkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_version_by_option_and_by_module(call: Call) -> None:
    assert call("--version") == f"nlpkit {__version__}\n"
    assert in_process("--version").stdout == f"nlpkit {__version__}\n"


def test_help_loads_neither_torch_nor_transformers() -> None:
    script = (
        "import sys; sys.argv = ['nlpkit', '--help']\n"
        "from nlpkit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "tokenize" in output
    assert "LOADED []" in output


@pytest.mark.parametrize(
    "verb", sorted(str(command.name or command.callback.__name__) for command in app.registered_commands)
)
def test_the_help_of_every_verb_has_an_example(call: Call, verb: str) -> None:
    output = call(verb, "--help")
    assert f"Example: nlpkit {verb} " in " ".join(output.split())


@pytest.mark.parametrize(
    "error",
    [
        ValueError("one\ntwo"),
        TypeError("one two"),
        OSError("one two"),
        ImportError("one two"),
        RuntimeError("one\n\n  two"),
    ],
)
def test_errors_of_the_user_are_one_line_and_a_traceback_on_request(
    refuse: Call, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("nlpkit.wobert.tokenizing.tokenizer.WoBertTokenizer.from_pretrained", fail)
    assert refuse("tokenize", "好") == "nlpkit: one two"
    for arguments, environment in (
        (["--debug", "tokenize", "好"], {}),
        (["tokenize", "好", "--debug"], {}),
        (["tokenize", "好"], {"NLPKIT_DEBUG": "1"}),
    ):
        result = CliRunner().invoke(app, arguments, env=environment)
        assert result.exception is error


def test_faults_of_the_program_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("fault")

    monkeypatch.setattr("nlpkit.wobert.tokenizing.tokenizer.WoBertTokenizer.from_pretrained", fail)
    assert isinstance(CliRunner().invoke(app, ["tokenize", "好"]).exception, KeyError)


@pytest.mark.parametrize(
    ("module", "extra"),
    [("matplotlib.figure", "viz"), ("peft", "peft"), ("scipy", "eval"), ("tensorflow", "convert")],
)
def test_a_missing_module_names_its_extra(module: str, extra: str) -> None:
    found = one_line(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert found.endswith(f"pip install '.[{extra}]' in a clone of nlpkit, or 'nlpkit_zh-….whl[{extra}]'")


def test_a_hint_is_given_once() -> None:
    first = one_line(ModuleNotFoundError("No module named 'peft'", name="peft"))
    assert one_line(ModuleNotFoundError(first, name="peft")) == first
    assert one_line(RuntimeError()) == "RuntimeError"


def test_no_bar_is_forced_on_whoever_reads_a_pipe() -> None:
    """``disable=False`` overrides the environment; ``None`` shows a bar on a terminal only."""
    package = Path(nlpkit.__file__).parent
    forced = [
        f"{path.relative_to(package)}, line {call.lineno}"
        for path in package.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "tqdm"
        for keyword in call.keywords
        if keyword.arg == "disable" and isinstance(keyword.value, ast.UnaryOp | ast.Name)
    ]
    assert forced == []


def test_pipes_hold_no_progress_bars() -> None:
    found = in_process("fill-mask", "酒店很[MASK]。", TQDM_MININTERVAL="0")
    assert found.returncode == 0 and found.stderr == ""
    found = in_process("tokenize", "--model", "./nowhere", "好")
    assert (found.returncode, found.stderr) == (1, "nlpkit: there is no folder ./nowhere\n")


def test_an_output_that_cannot_hold_the_text_says_how_it_could() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        "天气".encode("latin-1")
    assert one_line(caught.value).endswith("; set PYTHONIOENCODING=utf-8, or a UTF-8 locale, to print any text")


def test_one_warning_of_bitsandbytes_is_hushed_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    hush_kernels()
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    logger.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s.", "No module named 'kernels'")
    logger.warning("weights are broken")
    assert [record.getMessage() for record in caplog.records] == ["weights are broken"]


def test_a_closed_standard_output_is_told() -> None:
    command = f"{sys.executable} -m nlpkit tokenize 好 >&-"
    found = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (found.returncode, found.stderr) == (1, "nlpkit: standard output is closed; give it somewhere to go\n")
