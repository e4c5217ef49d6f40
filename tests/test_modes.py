"""Who runs a model in evaluation gives back the mode of each part: dropout that was turned off stays off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    T5Config,
    T5ForConditionalGeneration,
)

from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
from nlpkit.ladder_side_tuning.initialisation.pruning import squared_gradients
from nlpkit.modes import evaluating, mode_kept
from nlpkit.optimizers.one_token import run_one_token
from nlpkit.probes import add_urpe
from nlpkit.teaforn import measure_exposure
from nlpkit.training.weights.depths import depths
from nlpkit.wobert.state_scale import last_state_rms

IDS = torch.tensor([[5, 6, 7], [7, 5, 6]])
SMALL = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}


def bert(kind: Any = BertForMaskedLM) -> Any:
    torch.manual_seed(0)
    return kind(BertConfig(**SMALL, num_labels=2))


def t5() -> Any:
    config = T5Config(vocab_size=30, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2, decoder_start_token_id=0)
    return T5ForConditionalGeneration(config)


RUNS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "exposure": (t5, lambda model: measure_exposure(model, [{"input_ids": IDS, "labels": IDS}], show_progress=False)),
    "fisher": (
        lambda: bert(BertForSequenceClassification),
        lambda model: squared_gradients(model, [{"input_ids": IDS, "labels": torch.tensor([0, 1])}]),
    ),
    "ladder": (lambda: bert(BertForSequenceClassification), lambda model: get_ladder_model(model, LadderConfig())),
    "depths": (bert, depths),
    "one token": (bert, run_one_token),
    "state scale": (bert, lambda model: last_state_rms(model, [{"input_ids": IDS}])),
    "urpe": (lambda: bert(BertModel), add_urpe),
}


@pytest.mark.parametrize("name", RUNS)
def test_each_part_is_in_the_mode_it_was_in(name: str) -> None:
    make, run = RUNS[name]
    model = make().train()
    model.base_model.get_submodule("encoder").eval()
    before = {part: part.training for part in model.modules()}
    run(model)
    assert {part: part.training for part in before} == before


@pytest.mark.parametrize("context", [mode_kept, evaluating])
def test_modes_come_back_after_an_error_and_from_parts_shared(context: Callable[..., Any]) -> None:
    shared = nn.Dropout().eval()
    first, second = nn.Sequential(shared, nn.Dropout()), nn.Sequential(shared, nn.Dropout().eval()).train(False)
    first[1].train()
    before = [part.training for model in (first, second) for part in model.modules()]
    with pytest.raises(KeyError), context(first, second):
        first.train()
        second.train()
        raise KeyError
    assert [part.training for model in (first, second) for part in model.modules()] == before
