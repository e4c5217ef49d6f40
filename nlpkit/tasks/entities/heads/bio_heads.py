"""BIO labels of units: each for itself, or in a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nlpkit.losses.loss import Loss
from nlpkit.tasks.entities.heads.crf import Chain, Posterior, chain_log_likelihood, posterior
from nlpkit.tasks.entities.heads.span_decoding import UnitSpan


def bio_names(types: Sequence[str]) -> list[str]:
    """The labels of types, in the order of all heads: ``O``, then ``B-`` and ``I-`` of each.

    Example:
        >>> bio_names(["LOC", "PER"])
        ['O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER']
    """
    return ["O", *[f"{prefix}-{name}" for name in types for prefix in "BI"]]


def allowed_moves(types: int) -> tuple[Tensor, Tensor]:
    """Which label may follow which, ``(labels, labels)``, and which may be the first, ``(labels,)``, boolean.

    Example:
        >>> allowed_moves(1)[0].int()
        tensor([[1, 1, 0],
                [1, 1, 1],
                [1, 1, 1]], dtype=torch.int32)
    """
    number = torch.arange(1 + 2 * types)
    is_inside = (number > 0) & (number % 2 == 0)
    same = (number[:, None] + 1) // 2 == (number[None, :] + 1) // 2
    return ~is_inside | (same & (number[:, None] > 0)), ~is_inside


class ChainHead(nn.Module):
    """How labels follow one another: learnt scores of moves, and none where BIO allows none.

    Args:
        types: how many types there are.
        learnt: whether moves have scores (a CRF); without, only what BIO forbids is told apart, in decoding.
    """

    def __init__(self, types: int, learnt: bool) -> None:
        super().__init__()
        labels = 1 + 2 * types
        self.types = types
        sizes = {"transitions": (labels, labels), "starts": (labels,), "ends": (labels,)} if learnt else {}
        self.moves = nn.ParameterDict({name: nn.Parameter(torch.zeros(size)) for name, size in sizes.items()})

    def forward(self, emissions: Tensor) -> Chain:
        """The chain of a batch's emissions, shape ``(batch, length, labels)``."""
        allowed, first = (moves.to(emissions.device) for moves in allowed_moves(self.types))
        learnt = dict(self.moves.items())
        none = emissions.new_zeros(emissions.shape[-1])
        return Chain(
            emissions,
            torch.where(allowed, learnt.get("transitions", none), -torch.inf),
            torch.where(first, learnt.get("starts", none), -torch.inf),
            learnt.get("ends", none),
        )


class ChainLoss(Loss):
    """Minus ``chain_log_likelihood``, per labelled unit: without scores of moves it would be the cross-entropy.

    Note:
        Items are labelled units, as every Trainer counts them; a chain goes over those of a text.

    Example:
        >>> chain = Chain(torch.zeros(1, 3, 2), torch.zeros(2, 2), torch.zeros(2), torch.zeros(2))
        >>> ChainLoss().terms({"chain": chain}, {"labels": torch.tensor([[0, 1, 1]])}, {})["loss"]
        tensor(0.6931)
    """

    columns: ClassVar[tuple[str, ...]] = ("labels",)

    def terms(self, outputs: Any, batch: Mapping[str, Any], items: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over the labelled texts, divided by the labelled units of the step."""
        chain: Chain = outputs["chain"]
        if not self._has_labels(batch):
            finite = (torch.where(torch.isneginf(part), 0.0, part).sum() for part in chain)
            return {"loss": torch.stack(list(finite)).sum() * 0.0}
        labels = self.labels_of(batch)
        if labels.shape != chain.emissions.shape[:-1]:
            raise ValueError(
                f"labels of shape {tuple(labels.shape)} do not fit emissions of shape {tuple(chain.emissions.shape)}"
            )
        total = -chain_log_likelihood(chain, labels, self.valid(labels)).sum()
        count = items.get("loss", self.items(labels)).to(total.device)
        return {"loss": total / (count + (count == 0))}


def spans_of_labels(chain: Chain, labels: Tensor, mask: Tensor) -> list[UnitSpan]:
    """The spans in labels that BIO allows, each with the probability that just it is there.

    Args:
        chain: scores, of which the probabilities are: the sum over all labellings that have the span, and in which it
            goes no further.
        labels: numbers of labels, shape ``(batch, length)``.
        mask: positions of the chain, likewise, boolean.

    Returns:
        The spans, by text and unit.

    Example:
        >>> chain = ChainHead(1, learnt=False)(torch.tensor([[[0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]]))
        >>> spans_of_labels(chain, torch.tensor([[1, 2]]), torch.tensor([[True, True]]))
        [UnitSpan(text=0, first=0, last=1, type=0, score=0.544...)]
    """
    packed, lengths = chain.packed(mask)
    found = posterior(packed, lengths)
    spans = []
    for text, length in enumerate(lengths.tolist()):
        places = mask[text].nonzero()[:, 0].tolist()
        row = labels[text][mask[text]].tolist()
        begins = [place for place, label in enumerate(row) if label % 2 == 1]
        for begin in begins:
            end = next((place for place in range(begin + 1, length) if row[place] != row[begin] + 1), length)
            score = _log_probability(packed, found, text, begin, end, row[begin], length)
            spans.append(UnitSpan(text, places[begin], places[end - 1], row[begin] // 2, min(1.0, score.exp().item())))
    return spans


def _log_probability(
    chain: Chain, found: Posterior, text: int, begin: int, end: int, label: int, length: int
) -> Tensor:
    """Of ``label`` at ``begin`` and its continuation up to, and not at, ``end``."""
    inside = label + 1
    score = found.alphas[text, begin, label]
    for place in range(begin + 1, end):
        score = score + chain.transitions[label if place == begin + 1 else inside, inside]
        score = score + chain.emissions[text, place, inside]
    last = label if end == begin + 1 else inside
    if end == length:
        return score + chain.ends[last] - found.total[text]
    onward = chain.transitions[last] + chain.emissions[text, end] + found.betas[text, end]
    onward = torch.where(torch.arange(len(onward), device=onward.device) == inside, -torch.inf, onward)
    return score + onward.logsumexp(dim=0) - found.total[text]
