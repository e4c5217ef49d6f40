from __future__ import annotations

import io
import json
from dataclasses import asdict

import pytest
import torch
from rich.console import Console
from transformers import BertConfig, BertForSequenceClassification, BertModel

from nlpkit.ladder_side_tuning import ladder_ways
from nlpkit.probes import TuningProfile, full, profile_table, profile_tuning, standard_ways

WAYS = standard_ways() | ladder_ways()

BATCH = {
    "input_ids": torch.randint(5, 100, (4, 32), generator=torch.Generator().manual_seed(0)),
    "attention_mask": torch.ones(4, 32, dtype=torch.long),
    "labels": torch.tensor([0, 1, 0, 1]),
}


def model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512}
    return BertForSequenceClassification(BertConfig(vocab_size=100, **sizes))


@pytest.fixture(scope="module")
def profiles() -> dict[str, TuningProfile]:
    return {found.way: found for found in profile_tuning(model(), BATCH, ways=WAYS, rounds=1, show_progress=False)}


def test_every_way_is_measured(profiles: dict[str, TuningProfile]) -> None:
    assert list(profiles) == list(WAYS)
    assert profiles["full"].trainable_parameters == sum(p.numel() for p in model().parameters())
    assert profiles["full"].gradient_bytes == 4 * profiles["full"].trainable_parameters
    for found in profiles.values():
        assert found.optimizer_bytes >= 2 * found.gradient_bytes
        assert found.step_seconds > 0
        assert found.peak_bytes > found.activation_bytes > 0
        json.dumps(asdict(found))


def test_a_ladder_keeps_less_than_half_of_the_activations(profiles: dict[str, TuningProfile]) -> None:
    share = {way: found.activation_bytes / profiles["full"].activation_bytes for way, found in profiles.items()}
    assert share["ladder"] < 0.45 < 0.6 < share["BitFit"] < 1
    assert share["ladder, taps cached"] <= share["ladder"]


def test_the_users_model_is_left_alone() -> None:
    mine = model()
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    profile_tuning(mine, BATCH, ways={"full": full}, rounds=1, show_progress=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in mine.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in mine.parameters())


def test_the_table_shows_shares_of_the_first() -> None:
    rows = [
        TuningProfile("full", 100, 2**20, 2**20, 2**21, 2**22, 0.2),
        TuningProfile("ladder", 5, 2**18, 0, 0, 0, 0.1),
    ]
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(profile_table(rows))
    text = console.export_text()
    for cell in ("5 (5.0%)", "0.2 MiB (0.25)", "100 ms (0.50)"):
        assert cell in text


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="rounds=0 must be at least 1"):
        profile_tuning(model(), BATCH, rounds=0)
    unlabelled = {name: value for name, value in BATCH.items() if name != "labels"}
    with pytest.raises(ValueError, match="the model returns no loss; give a batch with labels"):
        profile_tuning(model(), unlabelled, ways={"full": full}, show_progress=False)
    with pytest.raises(ValueError, match="the model returns no loss"):
        profile_tuning(BertModel(model().config), BATCH, ways={"full": full}, show_progress=False)
