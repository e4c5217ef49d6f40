"""What is heard of dropout, on models whose dropout is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BartConfig,
    BartModel,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    T5Config,
    T5EncoderModel,
)

from nlpkit.probes import DropoutReport, dropout_report

WIDTHS: dict[str, Any] = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16
}  # fmt: skip
BATCH = {"input_ids": torch.arange(5, 17).view(2, 6), "attention_mask": torch.ones(2, 6, dtype=torch.long)}


def found(report: DropoutReport) -> dict[str, tuple[str, float, int]]:
    assert len({use.place for use in report.uses}) == len(report.uses)
    return {use.place: (use.kind, use.probability, use.calls) for use in report.uses}


def bert(implementation: str, **settings: Any) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(**WIDTHS, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.2, **settings)
    return BertForSequenceClassification._from_config(config, attn_implementation=implementation)


@pytest.mark.parametrize(("implementation", "kind"), [("sdpa", "fused attention"), ("eager", "function")])
def test_attention_draws_it_fused_or_not(implementation: str, kind: str) -> None:
    model = bert(implementation, classifier_dropout=0.3)
    report = dropout_report(model, BATCH)
    assert not report.unused  # a fused kernel draws what the module that it makes needless declares
    assert found(report) == {
        "bert.embeddings.dropout": ("module", 0.1, 1),
        "bert.encoder.layer.*.attention.self": (kind, 0.2, 3),
        "bert.encoder.layer.*.attention.output.dropout": ("module", 0.1, 3),
        "bert.encoder.layer.*.output.dropout": ("module", 0.1, 3),
        "dropout": ("module", 0.3, 1),
    }


def test_functions_within_layers_are_heard() -> None:
    config = BartConfig(vocab_size=30, d_model=16, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=16,
                        decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, dropout=0.1,
                        attention_dropout=0.2, activation_dropout=0.05)  # fmt: skip
    uses = dropout_report(BartModel(config), {**BATCH, "decoder_input_ids": BATCH["input_ids"]}).uses
    heard = {(use.place, use.kind, use.probability, use.calls) for use in uses}
    assert ("encoder.layers.*", "function", 0.1, 4) in heard and ("encoder.layers.*", "function", 0.05, 2) in heard
    assert ("decoder.layers.*.encoder_attn", "fused attention", 0.2, 2) in heard
    assert ("decoder.layers.*.self_attn", "fused attention", 0.2, 2) in heard


def test_a_model_without_dropout_is_silent() -> None:
    llama = dropout_report(LlamaModel(LlamaConfig(**WIDTHS)), BATCH)
    assert llama.silent and llama.noise == 0
    assert found(llama) == {"layers.*.self_attn": ("fused attention", 0.0, 3)}
    t5 = dropout_report(
        T5EncoderModel(T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)), BATCH
    )
    assert not t5.silent and t5.noise > 0
    gpt2 = GPT2Model(
        GPT2Config(vocab_size=30, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    )
    assert dropout_report(gpt2, BATCH).silent


class Declares(nn.Module):
    """Declares two dropouts and runs one, and draws a third as a function, but not in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.forgotten, self.off = nn.Dropout(0.5), nn.Dropout(0.4), nn.Dropout(0.0)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, states: Tensor) -> Tensor:
        return F.dropout(self.used(states * self.weight), 0.25, self.training)


def test_what_is_declared_and_not_run_is_named_and_the_noise_is_the_known_one() -> None:
    report = dropout_report(Declares(), {"states": torch.ones(100_000)}, passes=1)
    assert [(use.place, use.kind, use.probability) for use in report.uses] == [
        ("used", "module", 0.5), ("", "function", 0.25)
    ]  # fmt: skip
    assert report.unused == (("forgotten", 0.4),)
    assert report.noise == pytest.approx((1 / 0.5 / 0.75 - 1) ** 0.5, rel=0.02)


def test_modules_in_a_row_are_told_apart() -> None:
    report = dropout_report(
        nn.Sequential(nn.Dropout(0.1), nn.Linear(2, 2), nn.Dropout(0.2)), {"input": torch.ones(3, 2)}
    )
    assert [(use.place, use.kind, use.probability) for use in report.uses] == [
        ("*", "module", 0.1), ("*", "module", 0.2)
    ]  # fmt: skip
    assert not report.unused


def test_nothing_is_left_behind() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    dropout_report(model, {"input": torch.randn(4, 3, generator=torch.Generator().manual_seed(0))})
    assert torch.equal(torch.get_rng_state(), state) and not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="passes=0: give a whole number at least 1"):
        dropout_report(bert("sdpa"), BATCH, passes=0)

    class Other(nn.Linear):
        def forward(self, input: Tensor) -> Any:  # noqa: A002
            return {"vectors": input}

    with pytest.raises(ValueError, match="no logits nor last_hidden_state among vectors"):
        dropout_report(Other(2, 2), {"input": torch.ones(1, 2)})


class Recurrent(torch.nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(3, 4, layers, dropout=0.5)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.lstm(states)[0]


def test_dropout_between_recurrent_layers_is_heard() -> None:
    report = dropout_report(Recurrent(2), {"states": torch.randn(5, 2, 3)})
    assert [(use.place, use.probability) for use in report.uses] == [("lstm", 0.5)] and report.noise > 0


def test_a_model_that_gives_no_numbers_has_no_report() -> None:
    with pytest.raises(ValueError, match=r"the model gives NaN or infinity"):
        dropout_report(Recurrent(2), {"states": torch.full((5, 2, 3), torch.nan)})
