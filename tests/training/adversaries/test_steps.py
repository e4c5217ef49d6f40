"""PGD and FreeLB: several steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback

from nlpkit.training import FGM, PGD, FreeLB, ScheduledStrength, linear_strength
from nlpkit.training.adversaries.moves import Call
from nlpkit.training.adversaries.steps import SteppingAdversary
from tests.contract.test_stock_heads import assert_same
from tests.contract.test_techniques import largest_difference
from tests.training.adversaries.test_fgm import TOKENS, ours
from tests.training.linear_model import LINEAR, sums_and_lengths
from tests.training.runs import trainer


@pytest.mark.parametrize("include_clean", [True, False])
def test_pgd_in_one_step_is_fgm(include_clean: bool) -> None:
    one = PGD(0.5, steps=1, step_size=0.5, include_clean=include_clean)
    assert_same(ours(TOKENS, one), ours(TOKENS, FGM(0.5, include_clean=include_clean)))


def test_further_steps_go_on_from_where_the_model_is_moved_to() -> None:
    two = ours(TOKENS, PGD(0.5, steps=2, step_size=0.2))
    assert largest_difference(two, ours(TOKENS, FGM(0.4))) > 1e-3


def test_a_straight_way_ends_at_the_ball() -> None:
    # A linear model has one direction, so that three steps of 0.4 are cut to 1.
    assert_same(ours(LINEAR, PGD(1.0, steps=3, step_size=0.4)), ours(LINEAR, FGM(1.0)))
    assert_same(ours(LINEAR, PGD(1.0, steps=2, step_size=0.4)), ours(LINEAR, FGM(0.8)))


@pytest.mark.parametrize("adversary", [PGD, FreeLB])
def test_the_default_length_of_a_step_follows_a_radius_that_is_scheduled(
    adversary: type[SteppingAdversary], tmp_path: Path
) -> None:
    lengths = []

    class Watch(TrainerCallback):
        def on_step_begin(self, *args: Any, **others: Any) -> None:
            lengths.append((own.step_size, given.step_size, set_.step_size))

    own, given, set_ = (
        adversary(2.0, steps=3),  # type: ignore[call-arg]
        adversary(2.0, steps=3, step_size=0.5),  # type: ignore[call-arg]
        adversary(2.0, steps=3),  # type: ignore[call-arg]
    )
    straight = linear_strength(0.0, 4.0)
    schedules = [ScheduledStrength(technique, "epsilon", straight) for technique in (own, given)]
    schedules.append(ScheduledStrength(set_, "step_size", straight))
    trainer(tmp_path, [own, given, set_, *schedules], options={"callbacks": [Watch()]}).train()
    assert lengths == [(progress / 2, 0.5, float(progress)) for progress in range(4)]


def test_free_lb_trains_at_every_point_on_its_way() -> None:
    model, summed, lengths, numbers = sums_and_lengths()
    weight = model.weight.detach()
    start = ours(LINEAR, FreeLB(0.5, steps=1, relative=False))["weight"]  # at the noise alone
    first = ours(LINEAR, FreeLB(0.5, steps=2, step_size=1e6, relative=False))["weight"]
    # The second point lies where the first one's error points to, at the length epsilon.
    noise_at = _points(1)[0]
    errors = noise_at @ weight - numbers
    torch.testing.assert_close(start, 2 * (errors[:, None] * noise_at).mean(dim=0), rtol=0, atol=1e-12)
    there = summed + 0.5 * (errors.sign() * lengths.sqrt())[:, None] * weight / weight.norm()
    second = 2 * ((there @ weight - numbers)[:, None] * there).mean(dim=0)
    torch.testing.assert_close(first, (start + second) / 2, rtol=0, atol=1e-5)


def _points(steps: int) -> list[Tensor]:
    """The sums of embeddings that the passes of FreeLB have seen."""
    moves: list[Tensor] = []

    class Watched(FreeLB):
        @contextmanager
        def moving(self, *args: Any) -> Iterator[list[Call]]:
            with super().moving(*args) as calls:
                yield calls
                moves.append(calls[0].move.detach())

    ours(LINEAR, Watched(0.5, steps=steps, relative=False))
    _, summed, *_ = sums_and_lengths()
    return [summed + move.sum(dim=1) for move in moves]


def test_the_noise_of_free_lb_has_the_length_of_the_paper() -> None:
    (moved,) = _points(1)
    _, summed, *_ = sums_and_lengths()
    # Each number is uniform in +-0.5 / sqrt(6 * length): the sum over tokens has a variance of 0.25 / 3 / 6.
    assert (moved - summed).square().mean().item() == pytest.approx(0.25 / 18, rel=0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PGD(steps=0), "PGD: steps=0: give a whole number at least 1"),
        (lambda: FreeLB(steps=0), "FreeLB: steps=0: give a whole number at least 1"),
        (lambda: FreeLB(at="matrix"), 'FreeLB draws noise by rows: give at=None or a module, not "matrix"'),
    ],
)
def test_bad_settings_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
