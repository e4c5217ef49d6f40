"""Fixtures of the command line's tests: a small model's folder, and verbs called as a person calls them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from typer.testing import CliRunner

from nlpkit.cli import app
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer


@pytest.fixture(scope="session")
def small_model(small_vocabulary: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a word model with random weights."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    WoBertForMaskedLM(WoBertConfig(vocab_size=len(small_vocabulary), **sizes)).save_pretrained(folder)
    WoBertTokenizer(small_vocabulary).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def call() -> Callable[..., str]:
    """Run a verb that ends well; its standard output."""

    def run(*arguments: str, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def refuse() -> Callable[..., str]:
    """Run a verb that must end with one line on standard error; that line."""

    def run(*arguments: str, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        assert result.exit_code == 1, result.output
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("nlpkit: ")]
        assert result.stderr.endswith(f"{line}\n")  # before it, bars of libraries that were loaded before the call
        return line

    return run
