"""Virtual adversarial training: its direction, what it needs no labels for, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nlpkit.losses import SquaredErrorLoss
from nlpkit.training import FGM, PGD, FreeLB, VirtualAdversarial
from nlpkit.training.dropout import set_dropout
from tests.contract.cases import Case, Row
from tests.contract.one_step import gradient
from tests.contract.test_stock_heads import assert_same
from tests.contract.test_techniques import largest_difference
from tests.training.adversaries.test_fgm import BY_NAME, ROWS, TOKENS, ours
from tests.training.linear_model import LINEAR, sums_and_lengths


def term(case: Case, technique: VirtualAdversarial) -> dict[str, Tensor]:
    plain = gradient(case, 8, 1, "ours", {"loss": SquaredErrorLoss()} if case is LINEAR else {})
    with_it = ours(case, technique)
    return {name: with_it[name] - plain[name] for name in plain}


def test_a_linear_model_is_moved_along_its_weight_and_the_clean_side_has_no_gradient() -> None:
    model, summed, lengths, _ = sums_and_lengths()
    weight = model.weight.detach()
    way = lengths.sqrt()[:, None] * weight / weight.norm()
    # KL = (s' - s)^2 / 2 with s' - s = +- epsilon ||w|| sqrt(length), of which s has no gradient; the sign is drawn.
    found = term(LINEAR, VirtualAdversarial(epsilon=0.5, xi=0.1, relative=False))["weight"]
    change = 0.5 * lengths.sqrt() * weight.norm()
    from_move = (change[:, None] * 0.5 * way).mean(dim=0)
    by_sign = change[:, None] * summed / 8
    left = found - from_move
    signs = torch.linalg.lstsq(by_sign.T, left[:, None]).solution
    assert any(
        torch.allclose((by_sign * torch.tensor(drawn)[:, None]).sum(dim=0), left, rtol=0, atol=1e-10)
        for drawn in torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 8).tolist()
    ), signs


def test_rows_without_labels_count_as_all_others_do() -> None:
    def rows() -> list[Row]:
        found = ROWS.rows()
        for row in found[1:]:
            row["labels"] = torch.tensor(-100)
        return found

    unlabelled = Case("unlabelled", ROWS.model, rows, ROWS.collate)
    assert_same(term(unlabelled, VirtualAdversarial(2.0)), term(ROWS, VirtualAdversarial(2.0)))


def test_tokens_count_by_the_attention_mask_or_by_their_labels() -> None:
    for case in (TOKENS, BY_NAME["LlamaForCausalLM"]):
        found = [term(case, VirtualAdversarial(on=on)) for on in ("all", "labelled")]  # type: ignore[arg-type]
        assert largest_difference(*found) > 1e-5
    sparse = BY_NAME["ModernBertForMaskedLM-sparse"]
    with pytest.raises(ValueError, match=r'VirtualAdversarial: there are 57 items to compare.*give on="labelled"'):
        ours(sparse, VirtualAdversarial())
    assert_same(ours(sparse, VirtualAdversarial(on="labelled"), 2, 4), ours(sparse, VirtualAdversarial(on="labelled")))


def test_power_iteration_finds_a_worse_move_than_noise() -> None:
    def divergence(iterations: int) -> float:
        class Kept(VirtualAdversarial):
            def _divergence(self, run: Any, batch: Any) -> Tensor:
                kept.append(super()._divergence(run, batch))
                return kept[-1]

        kept: list[Tensor] = []
        ours(TOKENS, Kept(epsilon=1e-3, xi=1e-3, iterations=iterations))
        return kept[-1].item()

    noise, once, often = (divergence(iterations) for iterations in (0, 1, 10))
    assert once > 3 * noise
    assert often > once


def with_dropout() -> Case:
    def make() -> Any:
        model = TOKENS.model()
        set_dropout(model, 0.3)
        return model.train()

    return Case("dropout", make, TOKENS.rows, TOKENS.collate)


def test_dropout_alone_is_no_divergence() -> None:
    found = term(with_dropout(), VirtualAdversarial(epsilon=0.0))
    assert max(value.abs().max() for value in found.values()) < 1e-12


def test_dropout_is_no_part_of_the_direction() -> None:
    """Near no move, the gradient of a divergence that has its least there is as small as the move."""

    def size(xi: float) -> float:
        class Kept(VirtualAdversarial):
            def gathered(self, *args: Any) -> Any:
                moves, gradient = super().gathered(*args)
                kept.append(gradient[0].norm().item())
                return moves, gradient

        kept: list[float] = []
        ours(with_dropout(), Kept(xi=xi))
        return kept[0]

    assert size(1e-5) / size(1e-6) == pytest.approx(10, rel=1e-2)


def test_noise_is_another_one_in_each_step_and_the_same_after_a_rerun() -> None:
    technique = VirtualAdversarial(iterations=0)
    keys = []
    for step in (0, 1):
        technique.on_step_begin(type("A", (), {"seed": 42}), type("S", (), {"global_step": step}), None)  # type: ignore[arg-type]
        keys.append(technique._key)
    assert len(set(keys)) == 2
    assert_same(ours(TOKENS, VirtualAdversarial(iterations=0)), ours(TOKENS, VirtualAdversarial(iterations=0)))


@pytest.mark.parametrize("case", [TOKENS, with_dropout()], ids=str)
@pytest.mark.parametrize(
    "other", [FGM, lambda: FGM(include_clean=False), PGD, FreeLB], ids=["fgm", "moved", "pgd", "lb"]
)
def test_it_starts_from_the_predictions_of_the_clean_batch_whoever_stands_behind_it(case: Case, other: Any) -> None:
    alone = term(case, VirtualAdversarial())
    both = gradient(case, 8, 1, "ours", {"techniques": [VirtualAdversarial(), other()]})
    behind = ours(case, other())
    assert_same({name: both[name] - behind[name] for name in behind}, alone)


def test_a_matrix_and_batches_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match='VirtualAdversarial draws noise by rows: give at=None or a module, not "mat'):
        VirtualAdversarial(at="matrix")

    def collate(rows: Any, length: Any) -> Any:
        batch = ROWS.collate(rows, length)
        return {name: value for name, value in batch.items() if name != "labels"}

    from nlpkit.losses import CrossEntropyLoss

    case = Case("no labels", ROWS.model, ROWS.rows, collate)
    with pytest.raises(ValueError, match="the batch has no labels: give each row labels, -100 where it has none"):
        gradient(case, 8, 1, "ours", {"techniques": [VirtualAdversarial()], "loss": CrossEntropyLoss()})
