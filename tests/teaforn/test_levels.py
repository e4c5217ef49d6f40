"""Levels of a causal function, against one position at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nlpkit.teaforn import Argmax, EmbeddingMixture, Level, Raw, Vocabulary, levels, next_embeddings, repeated
from tests.reference import teaforn as reference

WIDTH = 3


def body(seed: int) -> Tensor:
    return torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def causal(embeddings: Tensor, weight: Tensor) -> Tensor:
    """States that depend on all that was read, and on its order."""
    lengths = torch.arange(1, embeddings.shape[-2] + 1).unsqueeze(-1)
    return torch.tanh((embeddings @ weight).sin().cumsum(-2) / lengths + embeddings)


@st.composite
def rows(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, what is replaced of them, and the weights of a decoder."""
    batch, length = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    seed = draw(st.integers(0, 99))
    embeddings = torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(seed)).double()
    cells = [[draw(st.booleans()) for _ in range(length)] for _ in range(batch)]
    replaced = torch.tensor(cells)
    replaced[:, 0] = False
    return embeddings, replaced, body(seed)


@given(rows(), st.integers(1, 4))
def test_each_position_reads_the_state_of_the_level_before_one_position_earlier(
    row: tuple[Tensor, Tensor, Tensor], n: int
) -> None:
    embeddings, replaced, weight = row
    found = levels(lambda read: Level(causal(read, weight)), embeddings, n, Raw(), replaced=replaced)
    assert len(found) == n
    for number, level in enumerate(found, start=1):
        for place, own in enumerate(embeddings):
            for position in range(own.shape[0]):
                expected = reference.state(
                    lambda read: causal(read, weight)[-1], own, replaced[place].tolist(), lambda h: h, number, position
                )
                torch.testing.assert_close(level.hidden[place, position], expected, rtol=0, atol=1e-12)


@given(rows())
def test_feeds_of_logits_look_at_those_of_the_position_before(row: tuple[Tensor, Tensor, Tensor]) -> None:
    embeddings, replaced, weight = row
    table = torch.nn.Embedding.from_pretrained(torch.eye(WIDTH, dtype=torch.float64))

    def run(read: Tensor) -> Level:
        hidden = causal(read, weight)
        return Level(hidden, hidden @ weight)

    found = levels(run, embeddings, 3, Argmax(), replaced=replaced, vocabulary=Vocabulary(table, WIDTH))
    for place, own in enumerate(embeddings):
        for position in range(own.shape[0]):
            expected = reference.state(
                lambda read: causal(read, weight)[-1],
                own,
                replaced[place].tolist(),
                lambda state: table.weight[(state @ weight).argmax()],
                3,
                position,
            )
            torch.testing.assert_close(found[2].hidden[place, position], expected, rtol=0, atol=1e-12)


@given(rows(), st.integers(2, 5))
def test_repeats_are_those_that_are_equal(row: tuple[Tensor, Tensor, Tensor], n: int) -> None:
    embeddings, replaced, weight = row
    found = levels(lambda read: Level(causal(read, weight)), embeddings, n, Raw(), replaced=replaced)
    for number in range(2, n + 1):
        apart = (found[number - 1].hidden - found[number - 2].hidden).abs().amax(-1)
        assert torch.equal(repeated(replaced, number), apart < 1e-12)
    assert not repeated(replaced, 1).any()


def test_by_default_all_but_the_first_are_replaced() -> None:
    embeddings, weight = torch.randn(2, 5, WIDTH).double(), body(1)
    everywhere = torch.ones(2, 5, dtype=torch.bool)
    everywhere[:, 0] = False

    def run(read: Tensor) -> Level:
        return Level(causal(read, weight))

    by_default, given_all = levels(run, embeddings, 3, Raw()), levels(run, embeddings, 3, Raw(), replaced=everywhere)
    assert all(torch.equal(one.hidden, other.hidden) for one, other in zip(by_default, given_all, strict=True))
    third = by_default[2].hidden
    assert torch.equal(third[:, :2], by_default[1].hidden[:, :2])
    assert not torch.isclose(third[:, 2:], by_default[1].hidden[:, 2:]).all(-1).any()


def test_the_gradient_is_that_of_the_straight_line() -> None:
    weight, embeddings = body(3).requires_grad_(), torch.randn(1, 4, WIDTH).double()
    found = levels(lambda read: Level(causal(read, weight)), embeddings, 3, Raw())
    (ours,) = torch.autograd.grad(found[-1].hidden.square().sum(), weight)
    replaced = [False, True, True, True]
    states = [
        reference.state(lambda read: causal(read, weight)[-1], embeddings[0], replaced, lambda h: h, 3, position)
        for position in range(4)
    ]
    (expected,) = torch.autograd.grad(torch.stack(states).square().sum(), weight)
    torch.testing.assert_close(ours, expected)


def test_detached_levels_learn_nothing_of_the_ones_before() -> None:
    weight, embeddings = body(3).requires_grad_(), torch.randn(1, 4, WIDTH).double()

    def run(read: Tensor) -> Level:
        return Level(causal(read, weight))

    first = run(embeddings)
    level = run(next_embeddings(first, embeddings, Raw(detach=True), replaced=torch.tensor([[False, *[True] * 3]])))
    (ours,) = torch.autograd.grad(level.hidden.sum(), weight, retain_graph=True)
    read = torch.cat([embeddings[:, :1], first.hidden[:, :-1].detach()], 1)
    (expected,) = torch.autograd.grad(run(read).hidden.sum(), weight)
    torch.testing.assert_close(ours, expected)


def test_what_does_not_fit_is_told() -> None:
    embeddings = torch.zeros(1, 2, WIDTH)
    with pytest.raises(ValueError, match=r"n=0 levels: give 1, which is teacher forcing, or more"):
        levels(lambda read: Level(read), embeddings, 0, Raw())
    with pytest.raises(ValueError, match=r"replaced holds a first position, before which there is no state to read"):
        next_embeddings(Level(embeddings), embeddings, Raw(), replaced=torch.tensor([[True, True]]))
    with pytest.raises(
        ValueError, match=r"states are 7 wide and its embeddings 3, so that Raw .* use EmbeddingMixture"
    ):
        levels(lambda read: Level(torch.zeros(1, 2, 7)), embeddings, 2, Raw())
    vocabulary = Vocabulary(torch.nn.Embedding(5, WIDTH), 5)
    found = levels(
        lambda read: Level(torch.zeros(1, 2, 7), torch.zeros(1, 2, 5)),
        embeddings,
        2,
        EmbeddingMixture(),
        vocabulary=vocabulary,
    )
    assert len(found) == 2
