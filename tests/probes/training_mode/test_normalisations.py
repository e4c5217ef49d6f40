"""What normalisations divide by, against torch's own statistics and gradients."""

from __future__ import annotations

from math import inf

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    GemmaConfig,
    GemmaModel,
    LlamaConfig,
    LlamaModel,
    T5Config,
    T5EncoderModel,
)

from nlpkit.probes import NormalisationUse, normalisation_report

IDS = {"input_ids": torch.arange(5, 17).view(2, 6)}


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def only(model: nn.Module, states: Tensor, accumulation: int = 1) -> NormalisationUse:
    (use,) = normalisation_report(model, {"input": states}, accumulation=accumulation)
    return use


def test_layer_norm_divides_rows_by_their_deviation() -> None:
    norm = nn.LayerNorm(16, eps=0.5, dtype=torch.float64)
    nn.init.constant_(norm.weight, 3.0)
    states = drawn(40, 16) * torch.logspace(-2, 2, 40, dtype=torch.float64)[:, None]
    use = only(nn.Sequential(norm), states)
    spreads = (states.var(dim=1, correction=0) + 0.5).sqrt()
    shares = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    assert use.spreads == pytest.approx(torch.quantile(spreads, shares).tolist())
    assert use.rates == pytest.approx(torch.quantile(9 / spreads**2, shares).tolist())
    assert use.eps_share == pytest.approx(0.5 / spreads.median().item() ** 2, rel=0.5)
    assert (use.place, use.kind, use.calls, use.batch) == ("*", "LayerNorm", 1, None)


def test_rates_of_batch_norm_are_how_much_larger_a_step_is_behind_it() -> None:
    """By the gradient: where it leaves statistics alone it is multiplied by weight over spread, twice in a step."""
    norm = nn.BatchNorm1d(1, dtype=torch.float64)
    nn.init.constant_(norm.weight, 0.7)
    states = (5 + 4 * drawn(64, 1)).requires_grad_()
    normal = (states - states.mean()) / states.std()
    back = drawn(65, 1)[1:]
    for direction in (torch.ones_like(back), normal.detach()):  # along which the statistics move
        back = back - direction * (back * direction).sum() / direction.square().sum()
    norm(states).backward(back)
    assert states.grad is not None
    use = only(nn.Sequential(norm), states.detach())
    torch.testing.assert_close(states.grad, back * use.rates[1] ** 0.5, rtol=1e-3, atol=1e-6)


def test_batch_norm_forgets_at_each_micro_batch() -> None:
    norm = nn.BatchNorm1d(2, momentum=0.1, dtype=torch.float64)
    states = drawn(32, 2) * torch.tensor([1.0, 10.0]) + torch.tensor([3.0, 0.0])
    use = only(nn.Sequential(norm), states, accumulation=4)
    batch = use.batch
    assert batch is not None and (batch.numbers, batch.momentum) == (32, 0.1)
    assert batch.momentum_per_step == pytest.approx(1 - 0.9**4)
    assert (1 - batch.momentum_per_step) ** batch.half_life == pytest.approx(0.5)
    assert batch.shift == pytest.approx((states.mean(0) / (1 + 1e-5) ** 0.5).square().mean().sqrt().item())
    assert use.spreads[0] < 2 < 8 < use.spreads[2]
    for _ in range(4):  # the mean that is kept, after one step of four micro-batches
        norm(states)
    torch.testing.assert_close(norm.running_mean, batch.momentum_per_step * states.mean(0))


@pytest.mark.parametrize(("settings", "half_life"), [({"momentum": None}, inf), ({"momentum": 1.0}, 0.0),
                                                     ({"track_running_stats": False}, inf)])  # fmt: skip
def test_batch_norms_that_keep_no_moving_mean(settings: dict[str, object], half_life: float) -> None:
    batch = only(nn.Sequential(nn.BatchNorm1d(2, **settings)), drawn(8, 2).float()).batch  # type: ignore[arg-type]
    assert batch is not None and batch.half_life == half_life


WIDTHS = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
GEMMA = {**WIDTHS, "head_dim": 8, "num_key_value_heads": 2}


@pytest.mark.parametrize(
    ("model", "kind", "gain"),
    [
        (lambda: LlamaModel(LlamaConfig(**WIDTHS)), "LlamaRMSNorm", 1.0),
        (lambda: GemmaModel(GemmaConfig(**GEMMA)), "GemmaRMSNorm", 1.5),  # multiplies by 1 + weight
        (lambda: T5EncoderModel(T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=16, num_layers=3, num_heads=2)),
         "T5LayerNorm", 1.0),
    ],
)  # fmt: skip
def test_norms_that_subtract_no_mean_are_told_by_what_they_do(model: object, kind: str, gain: float) -> None:
    assert callable(model)
    made = model()
    norms = [module for module in made.modules() if type(module).__name__ == kind]
    for module in norms:
        nn.init.constant_(module.weight, 0.5 if gain == 1.5 else gain)
    rows: list[Tensor] = []
    norms[0].register_forward_pre_hook(lambda module, inputs: rows.append(inputs[0]))
    made.train()(**IDS)
    uses = normalisation_report(made, IDS)
    assert {use.kind for use in uses} == {kind} and sum(use.calls for use in uses) == len(norms)
    expected = rows[0].detach().double().square().mean(-1).sqrt().median().item()
    first = uses[0].spreads
    assert first[0] <= expected * 1.5 and first[2] >= expected / 1.5
    assert uses[0].rates[1] == pytest.approx(gain**2 / uses[0].spreads[1] ** 2, rel=0.2)


def test_layers_of_a_kind_share_a_row_and_what_normalises_nothing_has_none() -> None:
    uses = normalisation_report(BertModel(BertConfig(**WIDTHS)), IDS)
    assert [(use.place, use.calls) for use in uses] == [
        ("embeddings.LayerNorm", 1),
        ("encoder.layer.*.attention.output.LayerNorm", 3),
        ("encoder.layer.*.output.LayerNorm", 3),
    ]  # fmt: skip

    class NoNorm(nn.Module):  # as MobileBERT's
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return input * self.weight

    rows = {"input": torch.randn(2, 4)}
    assert normalisation_report(nn.Sequential(NoNorm(), nn.GroupNorm(2, 4)), rows) == ()


def test_norms_in_a_row_are_told_apart() -> None:
    uses = normalisation_report(nn.Sequential(nn.LayerNorm(4), nn.BatchNorm1d(4)), {"input": torch.randn(8, 4)})
    assert [(use.kind, use.batch is not None) for use in uses] == [("LayerNorm", False), ("BatchNorm1d", True)]


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="accumulation=0: give a whole number at least 1"):
        normalisation_report(nn.BatchNorm1d(2), {"input": torch.ones(3, 2)}, accumulation=0)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        normalisation_report(nn.BatchNorm1d(2), {"input": torch.ones(1, 2)})


def test_what_is_no_number_or_nothing_is_named() -> None:
    model = nn.Sequential(nn.LayerNorm(4))
    with pytest.raises(ValueError, match=r"LayerNorm gets NaN or infinity"):
        normalisation_report(model, {"input": torch.tensor([[0.0, torch.nan, 0, 2]])})
    with pytest.raises(ValueError, match=r"LayerNorm gets no numbers: the batch is empty"):
        normalisation_report(model, {"input": torch.zeros(0, 4)})
