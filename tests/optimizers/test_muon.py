"""Muon for whole models: what is whose, matrices that hold several, and one optimizer for the Trainer."""

from __future__ import annotations

import copy
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import TrainingArguments

from nlpkit import TechniqueTrainer
from nlpkit.optimizers import Muon, muon_routes
from nlpkit.optimizers.fused import fused_sizes
from tests.contract.cases import masked_rows, pad_tokens
from tests.contract.stock_heads import HEADS
from tests.optimizers.small_models import MODELS, small_model


class Stack(nn.Module):
    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            states = block(states)
        return states


@pytest.mark.parametrize("name", [name for name in MODELS if name != "gpt-neox"])
def test_every_tensor_has_a_route(name: str) -> None:
    model = small_model(name)
    routes = muon_routes(model)
    assert [route.parameter for route in routes] == [name for name, _ in model.named_parameters()]
    parameters = dict(model.named_parameters())
    for route in routes:
        parameter = parameters[route.parameter]
        if route.optimizer == "muon":
            assert parameter.dim() == 2 and sum(route.parts) == parameter.shape[route.outputs_axis]
        else:
            assert route.why in {"embedding", "vector", "outside the blocks"}
    optimizer = Muon(model)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(parameters)


def test_the_kinds_of_tensor_in_known_families() -> None:
    def counts(name: str) -> Counter[str]:
        return Counter(route.why for route in muon_routes(small_model(name)))

    assert counts("llama") == {"embedding": 1, "vector": 5, "outside the blocks": 1, "matrix": 14}
    assert counts("gpt2") == {"embedding": 2, "vector": 18, "matrix": 6, "3 matrices in one": 2}
    assert counts("modernbert")["3 matrices in one"] == counts("modernbert")["2 matrices in one"] == 2
    assert counts("t5")["matrix"] == 2 * 6 + 2 * 10
    assert counts("t5")["embedding"] == 3  # tied, and two by relative position
    bert = {route.parameter: route for route in muon_routes(small_model("bert-sequence"))}
    assert bert["bert.pooler.dense.weight"].optimizer == bert["classifier.weight"].optimizer == "adamw"
    assert bert["bert.encoder.layer.0.intermediate.dense.weight"].parts == (24,)


def test_fused_matrices_are_told_by_what_they_do() -> None:
    assert set(map(tuple, fused_sizes(small_model("modernbert")).values())) == {(16, 16, 16), (24, 24)}
    assert set(map(tuple, fused_sizes(small_model("phi3")).values())) == {(16, 8, 8), (24, 24)}
    # A feed-forward layer three times as wide is none, and neither are attention's inner widths.
    assert fused_sizes(small_model("gpt2", n_inner=48)) == {
        f"transformer.h.{place}.attn.c_attn": [16, 16, 16] for place in range(2)
    }
    assert fused_sizes(small_model("bert", intermediate_size=48)) == {}
    assert fused_sizes(small_model("t5-gated", d_kv=32)) == {}
    assert fused_sizes(small_model("llama", head_dim=32)) == {}


def test_fused_matrices_that_cannot_be_told_are_refused_by_name() -> None:
    name = "gpt_neox.layers.0.attention.query_key_value"
    with pytest.raises(ValueError, match=rf"{name} has 48 outputs, and what stands behind it takes 16: .*blocks="):
        muon_routes(small_model("gpt-neox"))
    routes = muon_routes(small_model("gpt-neox"), adamw=["*.query_key_value.*"])
    assert Counter(route.why for route in routes)["given"] == 4
    routes = muon_routes(small_model("gpt-neox"), blocks={"*.query_key_value": [12] * 4})
    assert next(route for route in routes if route.parameter == f"{name}.weight").parts == (12,) * 4


def test_what_muon_cannot_move_is_refused() -> None:
    peft = pytest.importorskip("peft")
    lora = peft.get_peft_model(small_model("bert"), peft.LoraConfig(target_modules=["query"]))
    with pytest.raises(ValueError, match=r"query has LoRA's factors: .* Use AdamW or Amos"):
        Muon(lora)
    with pytest.raises(ValueError, match=r"Linear has no nn.ModuleList of blocks"):
        Muon(nn.Linear(2, 2))
    odd = Stack(nn.Linear(2, 2))
    odd.blocks[0].table = nn.Parameter(torch.ones(2, 3, 4))
    with pytest.raises(
        ValueError, match=r"blocks.0.table \(2, 3, 4\) is inside the blocks, .*adamw=\['blocks.0.table'\]"
    ):
        Muon(odd)
    with pytest.raises(ValueError, match=r"blocks: \[1, 2\] do not add up to the 2 outputs of blocks.0.weight"):
        Muon(Stack(nn.Linear(2, 2)), blocks={"blocks.0": [1, 2]})
    with pytest.raises(ValueError, match=r"blocks: head matches no matrix"):
        Muon(Stack(nn.Linear(2, 2)), blocks={"head": [1, 2]})
    with pytest.raises(ValueError, match=r"no trained matrix of Stack is left for Muon"):
        Muon(Stack(nn.Linear(2, 2)), adamw=["*"])
    with pytest.raises(ValueError, match=r"blocks.0.1 may hold several matrices, .*failed.*blocks="):
        Muon(Stack(nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 8))))


@pytest.mark.parametrize("name", ["lr", "adamw_lr", "weight_decay", "momentum", "eps", "betas[0]", "betas[1]"])
def test_settings_that_make_no_sense_are_refused(name: str) -> None:
    model = Stack(nn.Linear(2, 2))
    for wrong in (-1.0, float("nan"), float("inf")):
        pairs = {"betas[0]": {"betas": (wrong, 0.9)}, "betas[1]": {"betas": (0.9, wrong)}}
        with pytest.raises(ValueError, match=rf"^Muon: {re.escape(name)}={wrong}: give a finite number at least 0"):
            Muon(model, **pairs.get(name, {name: wrong}))
    with pytest.raises(ValueError, match=r"^Muon: ns_steps=0: give a whole number at least 1 and at most 99"):
        Muon(model, ns_steps=0)


@pytest.mark.parametrize("adjust_lr_fn", ["match_rms_adamw", "original"])
def test_matrices_and_the_rest_move_as_torch_moves_them(adjust_lr_fn: str) -> None:
    torch.manual_seed(0)
    ours = Stack(nn.Linear(6, 4), nn.Linear(4, 6))
    theirs = copy.deepcopy(ours)
    optimizer = Muon(ours, lr=0.1, adamw_lr=0.01, weight_decay=0.05, adjust_lr_fn=adjust_lr_fn)
    matrices = [p for p in theirs.parameters() if p.dim() == 2]
    muon = torch.optim.Muon(matrices, lr=0.1, weight_decay=0.05, adjust_lr_fn=adjust_lr_fn)
    vectors = [p for p in theirs.parameters() if p.dim() == 1]
    adamw = torch.optim.AdamW(vectors, lr=0.01, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    for step in range(5):
        inputs = torch.randn(3, 6, generator=torch.Generator().manual_seed(step))
        for model in (ours, theirs):
            model.zero_grad()
            model(inputs).square().sum().backward()
        for made in (optimizer, muon, adamw):
            made.step()
    for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_parts_and_transposed_matrices_move_as_matrices_of_their_own() -> None:
    """GPT-2's fused weight, inputs first, against three weights of torch's, outputs first."""
    model = small_model("gpt2").double()
    fused = model.transformer.h[0].attn.c_attn.weight
    parts = [nn.Parameter(part.T.clone()) for part in fused.detach().split(16, dim=1)]
    optimizer, muon = Muon(model, lr=0.1), torch.optim.Muon(parts, lr=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        gradient = torch.randn(16, 48, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        fused.grad = gradient
        for part, own in zip(parts, gradient.split(16, dim=1), strict=True):
            part.grad = own.T.contiguous()
        optimizer.step()
        muon.step()
    # Orthogonalised in bf16, in which a product may be summed in another order.
    torch.testing.assert_close(fused.detach(), torch.cat([part.detach() for part in parts]).T, rtol=0, atol=1e-3)
    whole = fused.detach()
    assert not torch.allclose(whole[:, :16], whole[:, 16:32])


def test_updates_have_the_size_of_adamws() -> None:
    torch.manual_seed(0)
    model = Stack(nn.Linear(64, 16, bias=False), nn.Linear(16, 64, bias=False))
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = Muon(model, lr=0.01, weight_decay=0.0)
    model(torch.randn(128, 64)).square().sum().backward()
    optimizer.step()
    for start, end in zip(before, model.parameters(), strict=True):
        assert (end - start).square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.3)


def test_a_state_goes_on_where_it_was_saved() -> None:
    model = small_model("gpt2").eval()
    ids = torch.arange(1, 9).view(1, 8)

    def train(trained: Any, optimizer: Muon) -> None:
        for _ in range(2):
            optimizer.zero_grad()
            trained(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()

    optimizer = Muon(model)
    train(model, optimizer)
    again = copy.deepcopy(model)
    other = Muon(again)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer)
    train(again, other)
    assert all(map(torch.equal, model.parameters(), again.parameters()))


def trainer(folder: Path, steps: int, **options: Any) -> TechniqueTrainer:
    case = next(case for case in HEADS if case.name == "BertForMaskedLM")
    model = case.model()
    given = options.pop("optimizer_cls_and_kwargs", None)
    optimizers: Any = {"optimizers": (Muon(model, lr=0.01), None)}
    arguments = TrainingArguments(
        str(folder), max_steps=steps, save_steps=2, per_device_train_batch_size=2, use_cpu=True, report_to=[],
        disable_tqdm=True, max_grad_norm=0.1, **options,
    )  # fmt: skip
    return TechniqueTrainer(
        model, arguments, train_dataset=masked_rows(), data_collator=lambda rows: pad_tokens(rows, None),
        **(optimizers if given is None else {"optimizer_cls_and_kwargs": given}),
    )  # fmt: skip


def test_the_trainer_schedules_clips_saves_and_resumes_it(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", 4)
    before = copy.deepcopy(whole.model.state_dict())
    whole.train()
    assert any(not torch.equal(before[name], tensor) for name, tensor in whole.model.state_dict().items())
    (tmp_path / "whole" / "checkpoint-2").rename(tmp_path / "checkpoint-2")
    again = trainer(tmp_path / "again", 4)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    expected = whole.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.model.state_dict().items())
    factory = trainer(tmp_path / "factory", 4, optimizer_cls_and_kwargs=(lambda: Muon, {"lr": 0.01}))
    factory.train()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in factory.model.state_dict().items())


def test_accumulated_steps_equal_one_large_batch(tmp_path: Path) -> None:
    settings = {"train_sampling_strategy": "sequential"}
    whole = trainer(tmp_path, 1, **{**settings, "gradient_accumulation_steps": 1})
    whole.args.per_device_train_batch_size = whole._train_batch_size = 8
    whole.train()
    cut = trainer(tmp_path, 1, **{**settings, "gradient_accumulation_steps": 4})
    cut.train()
    expected = dict(whole.model.named_parameters())
    for name, parameter in cut.model.named_parameters():
        # Orthogonalisation in bf16 magnifies what fp32 sums differ by.
        assert F.mse_loss(parameter, expected[name]).sqrt() < 2e-4, name


def test_a_trainer_that_gives_it_groups_is_told_how_to_give_the_model() -> None:
    model = small_model("bert")
    told = r"was given list: give it the model; with a Trainer.*optimizer_cls_and_kwargs=\(lambda: Muon"
    with pytest.raises(TypeError, match=told):
        Muon([{"params": list(model.parameters())}], lr=1e-3)  # type: ignore[arg-type]
