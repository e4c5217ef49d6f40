"""The identities of a ladder, its isolation from the backbone, and its ways with heads."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertForMaskedLM, pipeline

from nlpkit.ladder_side_tuning.building import get_ladder_model
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.modeling import LadderModel
from tests.ladder_side_tuning.small_models import (
    MAKERS,
    answers,
    narrow,
    set_gates,
    small_batch,
    small_labels,
    small_model,
)
from tests.reference.ladder import climb

every_kind = pytest.mark.parametrize("name", MAKERS)
each_merge = pytest.mark.parametrize("merge", ["gate", "add"])


@every_kind
def test_the_backbone_itself_beside_it_with_open_gates_is_the_backbone(name: str) -> None:
    model = small_model(name)
    batch = small_batch(model)
    expected = answers(model(**batch))
    ladder = get_ladder_model(model, LadderConfig(reduction=1))
    set_gates(ladder, torch.inf)
    assert torch.equal(answers(ladder(**batch)), expected)


@every_kind
def test_open_gates_let_no_tap_through_and_shut_ones_no_side_state(name: str) -> None:
    ladder = narrow(name)
    batch = small_batch(ladder)
    set_gates(ladder, torch.inf)
    before = answers(ladder(**batch))
    for parameter in _parameters(ladder, "side.down.weight"):
        parameter.mul_(-3)
    assert torch.equal(answers(ladder(**batch)), before)
    set_gates(ladder, -torch.inf)
    before = answers(ladder(**batch))
    for parameter in _parameters(ladder, "enter.weight"):
        parameter.mul_(-3)
    assert torch.equal(answers(ladder(**batch)), before)
    for parameter in _parameters(ladder, "side.down.weight"):
        parameter.mul_(-3)
    assert not torch.equal(answers(ladder(**batch)), before)


@every_kind
def test_without_a_way_up_all_inputs_get_one_answer(name: str) -> None:
    ladder = narrow(name).double()
    for parameter in [*_parameters(ladder, "side.up.weight"), *_parameters(ladder, "side.up.bias")]:
        parameter.zero_()
    found = answers(ladder(**small_batch(ladder)))
    first = found[:1, :1] if found.dim() == 3 else found[:1]
    torch.testing.assert_close(found, first.expand_as(found), rtol=0, atol=1e-12)


@each_merge
@pytest.mark.parametrize("layers", [None, 2, [0, 2]])
def test_the_states_are_those_of_the_equations(merge: str, layers: Any) -> None:
    ladder = narrow("bert-bare", merge=merge, layers=layers).double()
    for number, rung in enumerate(ladder.encoder.layer):
        if merge == "gate" and rung.side is not None:
            rung.side.alpha.data.fill_(0.07 * (number - 1))
    ids = torch.tensor([[5, 9, 7, 30, 12]])
    found = ladder(ids, output_hidden_states=True)
    kept = ladder.tapped_layers()["encoder"]
    weights, taps = ladder.state_dict(), [state[0] for state in found.hidden_states]
    # hidden_states ends with what replaced the backbone's last states, which are a tap too.
    outputs = [*taps[1:-1], ladder.tap(ids, layers={"encoder": [3]})["encoder"][3][0]]
    expected = climb(weights, "encoder", taps[0], outputs, kept, heads=2, merge=merge, temperature=0.1)
    torch.testing.assert_close(found.last_hidden_state[0], expected, rtol=0, atol=1e-10)


@every_kind
@each_merge
def test_only_the_ladder_and_the_head_get_gradients(name: str, merge: str) -> None:
    ladder = narrow(name, merge=merge).train()
    batch = small_batch(ladder)
    output = ladder(**batch, **small_labels(ladder, batch))
    (answers(output).square().mean() if output.get("loss") is None else output.loss).backward()
    trained = {id(p) for module in ladder.ladder_modules().values() for p in module.parameters()}
    for key, parameter in ladder.named_parameters():
        if id(parameter) in trained:
            assert parameter.grad is not None, key
        else:
            assert parameter.grad is None, key
            assert not parameter.requires_grad, key
    assert sum(p.numel() for p in ladder.parameters() if p.requires_grad) == ladder.num_ladder_parameters()


@every_kind
def test_the_backbone_keeps_no_activation(name: str) -> None:
    """Nothing that is saved for the backward pass was made inside a frozen block, but for the tapped outputs.

    Also when someone sets the backbone to be trained: blocks do not merely lack trainable weights, they run without
    gradients.
    """
    ladder = narrow(name).train().requires_grad_(True)
    batch = small_batch(ladder)
    made: dict[int, str] = {}
    alive: list[Any] = []  # or an address could be used again
    outputs = _watch_frozen_blocks(ladder, made, alive)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor
    ):
        answers(ladder(**batch))
    assert made
    assert len(saved) > 5
    inside = {made[_address(tensor)] for tensor in saved if _address(tensor) in made.keys() - outputs}
    assert inside == set()


@every_kind
def test_the_backbone_is_in_evaluation_mode_whatever_happens(name: str) -> None:
    ladder = narrow(name)
    for module in ladder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    batch = small_batch(ladder)
    expected = ladder.eval().tap(**batch)
    found = ladder.train().tap(**batch)
    for stack in ladder.stacks:
        for layer, tap in expected[stack.name].items():
            assert torch.equal(found[stack.name][layer], tap)
        stack.module(ladder).train()
        for rung in stack.blocks(ladder):
            assert not any(module.training for module in rung.block.modules())
            assert rung.side.training


def test_dropout_inside_the_side_network_is_on_in_training() -> None:
    ladder = narrow("bert-sequence").train()
    batch = small_batch(ladder)
    assert not torch.equal(ladder(**batch).logits, ladder(**batch).logits)
    ladder.eval()
    assert torch.equal(ladder(**batch).logits, ladder(**batch).logits)


@every_kind
def test_copies_and_pickles_give_the_same_answers(name: str) -> None:
    ladder = narrow(name).eval()
    batch = small_batch(ladder)
    expected = answers(ladder(**batch))
    for found in (copy.deepcopy(ladder), pickle.loads(pickle.dumps(ladder))):
        assert isinstance(found, LadderModel)
        assert torch.equal(answers(found(**batch)), expected)


@every_kind
def test_taps_stand_in_for_the_backbone(name: str) -> None:
    ladder = narrow(name, layers=2).eval()
    batch = small_batch(ladder)
    expected, taps = answers(ladder(**batch)), ladder.tap(**batch)
    assert {stack: sorted(found) for stack, found in taps.items()} == ladder.tapped_layers()
    for stack in ladder.stacks:
        for rung in stack.blocks(ladder):
            rung.block.forward = lambda *args, **kwargs: pytest.fail("the backbone ran")
    assert torch.equal(answers(ladder(**batch, taps=taps)), expected)


@every_kind
def test_a_pass_leaves_nothing_behind_in_memory(name: str) -> None:
    ladder = narrow(name).train()
    batch = small_batch(ladder)
    watched: list[Any] = []

    def watch(module: Any, args: Any, output: Any) -> None:
        watched.extend(weakref.ref(tensor) for tensor in (args[0], output) if isinstance(tensor, Tensor))

    for stack in ladder.stacks:
        for rung in stack.blocks(ladder):
            rung.side.down.register_forward_hook(watch)
    ladder(**batch)
    ladder.tap(**batch)
    gc.collect()
    assert watched
    assert [found for found in watched if found() is not None] == []


def test_taps_of_other_inputs_are_refused() -> None:
    ladder = narrow("bert-sequence").eval()
    taps = ladder.tap(input_ids=torch.tensor([[5, 6, 7]]))
    with pytest.raises(ValueError, match=r"taps are \(1, 3, 16\) where the backbone's states are \(1, 2, 16\)"):
        ladder(input_ids=torch.tensor([[5, 6]]), taps=taps)
    assert ladder(input_ids=torch.tensor([[5, 6]])).logits.shape == (1, 3)  # the refused taps are forgotten


def test_a_ladder_is_a_model_of_the_same_class() -> None:
    model = small_model("bert-mlm")
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    assert isinstance(ladder, BertForMaskedLM)
    assert type(ladder).__name__ == "BertForMaskedLM"
    assert [*inspect.signature(model.forward).parameters][:3] == [*inspect.signature(ladder.forward).parameters][:3]
    assert "taps" in inspect.signature(ladder.forward).parameters
    with pytest.raises(TypeError, match="has a ladder already"):
        get_ladder_model(ladder, LadderConfig())
    with pytest.raises(TypeError, match="beside a transformers PreTrainedModel, not a Linear"):
        get_ladder_model(torch.nn.Linear(2, 2), LadderConfig())  # type: ignore[arg-type]


def test_threads_do_not_mix_their_passes() -> None:
    ladder = narrow("bert-sequence").eval()
    batches = [{"input_ids": torch.full((2, length), 7)} for length in (3, 5, 8)]
    expected = [ladder(**batch).logits for batch in batches]
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(5):
            if not torch.equal(ladder(**batches[number]).logits, expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", ["bert-bare", "gpt2", "llama"])
def test_hidden_states_are_the_backbones(name: str) -> None:
    model = small_model(name)
    batch = small_batch(model)
    expected = model(**batch, output_hidden_states=True).hidden_states
    found = narrow(name).eval()(**batch, output_hidden_states=True).hidden_states
    assert len(found) == len(expected)
    for ours, theirs in zip(found[:-1], expected[:-1], strict=True):
        assert torch.equal(ours, theirs)


@every_kind
def test_checkpointed_side_blocks_give_the_same_gradients(name: str) -> None:
    found = []
    for checkpointed in (False, True):
        ladder = narrow(name, dropout=0.0).double()
        for module in ladder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        ladder.config.use_cache = False
        if checkpointed:
            ladder.gradient_checkpointing_enable()
        ladder.train()
        _without_functional_dropout(ladder)
        answers(ladder(**small_batch(ladder))).square().mean().backward()
        found.append({key: p.grad for key, p in ladder.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for key, gradient in found[0].items():
        torch.testing.assert_close(found[1][key], gradient, rtol=0, atol=1e-10)


def test_a_pipeline_takes_a_ladder(small_vocabulary: dict[str, int]) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(small_vocabulary), **sizes))
    ladder = get_ladder_model(model, LadderConfig(reduction=2))
    classify = pipeline("text-classification", model=ladder, tokenizer=WoBertTokenizer(small_vocabulary))
    assert {answer["label"] for answer in classify(["酒店很好", "天气不错"])} <= {"LABEL_0", "LABEL_1"}


def _parameters(ladder: Any, ending: str) -> list[Tensor]:
    found = [parameter.data for name, parameter in ladder.named_parameters() if name.endswith(ending)]
    assert found
    return found


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _watch_frozen_blocks(ladder: Any, made: dict[int, str], alive: list[Any]) -> set[int]:
    """Note where each tensor that a module of a frozen block returns lies in memory; those of whole blocks apart."""
    outputs: set[int] = set()
    parameters = {_address(parameter) for parameter in ladder.parameters()}
    for stack in ladder.stacks:
        for rung in stack.blocks(ladder):
            for name, module in rung.block.named_modules():

                def note(module: Any, args: Any, output: Any, name: str = name) -> None:
                    for tensor in output if isinstance(output, tuple) else (output,):
                        if isinstance(tensor, Tensor) and _address(tensor) not in parameters:
                            alive.append(tensor)
                            made[_address(tensor)] = name
                            if name == "":
                                outputs.add(_address(tensor))

                module.register_forward_hook(note)
    return outputs


def _without_functional_dropout(ladder: Any) -> None:
    """Some blocks hold the probability of dropout as a number."""
    for module in ladder.modules():
        for attribute in ("dropout", "attention_dropout", "activation_dropout"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.0)
