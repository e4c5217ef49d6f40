"""The table of which architectures can count, as theory has it."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM, GPT2Model

from nlpkit import model_path
from nlpkit.probes import linear_probe, position_gap, position_identifiability, position_table
from tests.probes.positions.small_models import ABSOLUTE, CAUSAL, RELATIVE, small_model


@pytest.mark.parametrize("name", ABSOLUTE)
def test_absolute_positions_are_told_apart_in_every_text(name: str) -> None:
    report = position_identifiability(small_model(name, scale=1.0), texts=64)
    stacks = ("encoder", "decoder") if name == "bart" else ("model",)
    for stack in stacks:
        for case in (report.case("none", stack), report.case("both", stack)):
            assert case.counts and case.verdict == "yes" and case.gap > 0.1
            assert case.accuracy > 0.5  # one direction per position serves tokens that the probe has not seen


@pytest.mark.parametrize("name", RELATIVE)
def test_relative_ones_count_from_either_end_alone(name: str) -> None:
    report = position_identifiability(small_model(name), texts=32)
    stack = report.cases[0].stack
    none = report.case("none", stack)
    assert not none.counts and none.gap < 1e-6 and none.accuracy == pytest.approx(1 / 16, abs=0.04)
    assert all(report.case(kind, stack).counts for kind in ("first", "last", "both"))


@pytest.mark.parametrize("name", [*CAUSAL, "t5", "mt5"])
def test_causal_ones_count_from_the_first_token_alone(name: str) -> None:
    """Rows of a causal mask are of unequal length, and still sum to 1; what comes later is not seen."""
    report = position_identifiability(small_model(name), texts=32)
    stack = report.cases[-1].stack
    assert [report.case(kind, stack).counts for kind in ("none", "first", "last", "both")] == [
        False, True, False, True
    ]  # fmt: skip


def test_a_causal_model_without_positions_counts_from_its_first_token() -> None:
    model = small_model("gpt2")
    assert isinstance(model, GPT2Model)
    nn.init.zeros_(model.wpe.weight)
    report = position_identifiability(model, texts=32)
    assert not report.case("none").counts and report.case("first").verdict == "yes"
    bert = small_model("bert")
    nn.init.zeros_(bert.get_submodule("embeddings.position_embeddings").weight)
    assert not any(case.counts for case in position_identifiability(bert, texts=32).cases)  # a bag of words


def test_the_gap_is_the_largest_difference_of_a_loop() -> None:
    states = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    largest = max(
        (states[text, i, d] - states[text, j, d]).abs().item()
        for text in range(3) for i in range(5) for j in range(5) for d in range(4)
    )  # fmt: skip
    assert position_gap(states) == pytest.approx(largest / states.square().mean().sqrt().item(), rel=1e-12)


def least_squares(train: Tensor, test: Tensor, ridge: float) -> float:
    """The probe as a least-squares problem with rows for the penalty, and an unpenalised constant by centring."""
    positions = train.shape[1]
    rows = train.flatten(0, 1)
    centre, spread = rows.mean(0), rows.std(0)
    inputs = (rows - centre) / spread
    wanted = torch.eye(positions, dtype=rows.dtype).repeat(len(train), 1)
    inputs = torch.cat([inputs, (ridge * len(rows)) ** 0.5 * torch.eye(rows.shape[1], dtype=rows.dtype)])
    wanted = torch.cat([wanted - wanted.mean(0), torch.zeros(rows.shape[1], positions, dtype=rows.dtype)])
    weights = torch.linalg.lstsq(inputs, wanted).solution
    right = 0
    for text in test:
        for place, state in enumerate(text):
            right += int((((state - centre) / spread) @ weights).argmax() == place)
    return right / test.shape[0] / test.shape[1]


@pytest.mark.parametrize("ridge", [1e-4, 1.0])
def test_the_probe_is_ridge_regression(ridge: float) -> None:
    generator = torch.Generator().manual_seed(1)
    places = torch.randn(6, 8, generator=generator, dtype=torch.float64)
    states = places + torch.randn(40, 6, 8, generator=generator, dtype=torch.float64)
    found = linear_probe(states[:20], states[20:], ridge)
    assert found == pytest.approx(least_squares(states[:20], states[20:], ridge), abs=1e-12)
    assert 0.4 < found < 1


def test_a_model_is_left_as_it_was_and_heads_do_not_matter() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=50, **sizes)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = position_identifiability(model, texts=16)
    assert model.training and all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    bare = position_identifiability(model.bert, texts=16)
    assert report.model == "BertForMaskedLM" and report.cases == bare.cases


def test_the_table_has_a_row_per_stack() -> None:
    reports = {name: position_identifiability(small_model(name), texts=16) for name in ("t5", "llama")}
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(position_table(reports))
    text = console.export_text()
    for part in ("t5, encoder", "t5, decoder", "llama", "first token differs", "no "):
        assert part in text
    with pytest.raises(ValueError, match=r"no case of marks='none' and stack='head': marks are .*, stacks enc"):
        reports["t5"].case("none", "head")


def test_bad_input_is_named() -> None:
    model = small_model("bert")
    with pytest.raises(ValueError, match="length=63 and two marks, but BertModel has room for 64 tokens"):
        position_identifiability(model, length=63)
    with pytest.raises(ValueError, match="length=1: give a whole number at least 2"):
        position_identifiability(model, length=1)
    with pytest.raises(TypeError, match=r"texts=2\.5"):
        position_identifiability(model, texts=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the id 99 of a mark is not in the vocabulary of 99"):
        position_identifiability(model, first=99)
    model.is_quantized = True  # as transformers marks them
    with pytest.raises(ValueError, match="this BertModel is quantised, and there is no fp64 of it: load it without"):
        position_identifiability(model)
    tiny = BertForMaskedLM(BertConfig(vocab_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                                      intermediate_size=8))  # fmt: skip
    with pytest.raises(ValueError, match="a vocabulary of 4 has fewer than four tokens"):
        position_identifiability(tiny)
    with pytest.raises(ValueError, match=r"states of shapes \(2, 3\) and \(2, 3\): give \(texts, positions, dim\)"):
        linear_probe(torch.ones(2, 3), torch.ones(2, 3))


def test_positions_fade_from_layer_to_layer_of_a_trained_model() -> None:
    model = AutoModelForMaskedLM.from_pretrained(model_path("wobert-mini-zh"))
    case = position_identifiability(model, texts=64).case("none")
    assert len(case.layers) == 5 and case.layers[-1] == case.accuracy
    assert case.layers[0] > 0.9 and case.accuracy < 0.5
    assert case.verdict == "yes"  # states still differ, only not in one direction per position


def test_states_that_are_no_numbers_have_no_verdict() -> None:
    states = torch.randn(4, 5, 3)
    assert position_gap(torch.zeros(2, 4, 3)) == 0
    broken = states.clone()
    broken[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"states: row 1 holds NaN or infinity; the model's weights are broken"):
        position_gap(broken)
    with pytest.raises(ValueError, match=r"test: row 1 holds NaN or infinity"):
        linear_probe(states, broken)
