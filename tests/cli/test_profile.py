from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from transformers import AutoConfig, AutoModel, BertConfig, BertModel
from typer.testing import CliRunner

from nlpkit.cli.profile import profile
from nlpkit.ladder_side_tuning import ladder_ways
from nlpkit.probes import standard_ways


def call(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(profile)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_way_is_profiled_on_the_users_model(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=30, **sizes)).save_pretrained(tmp_path / "model")
    small = ["--batch-size", "2", "--length", "8", "--rounds", "1"]
    table = call(str(tmp_path / "model"), *small, "--output", str(tmp_path / "profile.json"))
    profiles = json.loads((tmp_path / "profile.json").read_text("utf-8"))
    assert [found["way"] for found in profiles] == list(standard_ways() | ladder_ways())
    for found in profiles:
        assert found["way"].split(",")[0] in table


@pytest.mark.parametrize("model_type", ["distilbert", "gpt_neox"])
def test_ways_that_a_model_has_not_are_left_out_with_a_reason(model_type: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    own = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 64} if model_type == "distilbert" else sizes
    AutoModel.from_config(AutoConfig.for_model(model_type, vocab_size=30, pad_token_id=0, **own)).save_pretrained(
        tmp_path
    )
    small = ["--batch-size", "2", "--length", "8", "--rounds", "1", "--output", str(tmp_path / "profile.json")]
    app = typer.Typer()
    app.command()(profile)
    result = CliRunner().invoke(app, [str(tmp_path), *small], catch_exceptions=False)
    ways = [found["way"] for found in json.loads((tmp_path / "profile.json").read_text("utf-8"))]
    if model_type == "distilbert":
        assert ways == list(standard_ways() | ladder_ways())
    else:
        assert "full" in ways and "ladder" not in ways
        assert "left out: ladder: GPTNeoXForSequenceClassification is made of GPTNeoXLayer, which" in result.stderr


def test_lora_without_peft_is_missed_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlpkit.probes.tuning_profile.find_spec", lambda name: None)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=30, **sizes)).save_pretrained(tmp_path)
    app = typer.Typer()
    app.command()(profile)
    small = [str(tmp_path), "--batch-size", "2", "--length", "8", "--rounds", "1"]
    result = CliRunner().invoke(app, small, catch_exceptions=False)
    assert "left out: LoRA: peft is not installed; install the extra 'peft'" in result.stderr


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="--batch-size, --length, --labels and --rounds must be at least 1"):
        call("--rounds", "0")


def test_rows_longer_than_the_model_takes_are_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=30, max_position_embeddings=16, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="--length 17 is over the model's limit of 16 tokens"):
        call(str(tmp_path), "--length", "17")
