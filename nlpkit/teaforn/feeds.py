"""What the next level reads in place of a right token: the decoder's state, or embeddings that it finds likely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from nlpkit.checked_number import checked_number

#: Rows of an embedding by which its scale is told.
_ROWS = 4096
T = TypeVar("T")


class Vocabulary(NamedTuple):
    """The input embedding of a decoder.

    Attributes:
        embed: from token ids to what the decoder reads for them, one dimension more.
        size: how many tokens there are.
    """

    embed: Callable[[Tensor], Tensor]
    size: int


@dataclass(frozen=True)
class Feed:
    """Makes of a decoder's states, or of its logits, what the next level reads.

    Args:
        detach: no gradient passes from a level to the one before it, so that each learns to read what it is given, and
            none to be read.
    """

    detach: bool = field(default=False, kw_only=True)
    #: Whether it looks at logits.
    needs_logits: ClassVar[bool] = False

    def __call__(self, hidden: Tensor, logits: Tensor | None, vocabulary: Vocabulary | None) -> Tensor:
        """Feed a level.

        Args:
            hidden: last states of the level before, shape ``(batch, length, width)``.
            logits: beside them, shape ``(batch, length, classes)``; where ``needs_logits``.
            vocabulary: the input embedding; ``Raw`` does without.

        Returns:
            What is read for them one position later, shape ``(batch, length, embedding width)``.

        Raises:
            ValueError: something that it needs is not given.
        """
        fed = self.fed(hidden, logits, vocabulary)
        return fed.detach() if self.detach else fed

    def fed(self, hidden: Tensor, logits: Tensor | None, vocabulary: Vocabulary | None) -> Tensor:
        """As ``__call__``, with all gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define fed(hidden, logits, vocabulary)")


class Raw(Feed):
    """The state as it is.

    Source: kexue.fm/archives/7818. For decoders whose last states and embeddings are of one scale, as T5's at the
    start of its training; those of others differ by a factor of 10 to 50.

    Example:
        >>> Raw()(torch.ones(1, 2, 3), None, None).shape
        torch.Size([1, 2, 3])
    """

    def fed(self, hidden: Tensor, logits: Tensor | None, vocabulary: Vocabulary | None) -> Tensor:
        """The state."""
        return hidden


class RmsMatched(Feed):
    """The state, as large as embeddings are: its root mean square becomes that of the embedding's rows.

    The scale is that of every k-th row of the embedding, about 4,096 of them, and takes no gradient: that of the right
    token would tell which token it is.

    Example:
        >>> embedding = torch.nn.Embedding.from_pretrained(torch.full((9, 3), 0.5))
        >>> RmsMatched()(torch.full((1, 1, 3), 8.0), None, Vocabulary(embedding, 9)).tolist()
        [[[0.5, 0.5, 0.5]]]
    """

    def fed(self, hidden: Tensor, logits: Tensor | None, vocabulary: Vocabulary | None) -> Tensor:
        """The state, scaled."""
        embed, size = _needed(self, "vocabulary", vocabulary)
        with torch.no_grad():
            rows = embed(torch.arange(0, size, max(1, size // _ROWS), device=hidden.device))
            scale = rows.to(hidden.dtype).square().mean().sqrt()
        return F.rms_norm(hidden, hidden.shape[-1:]) * scale


@dataclass(frozen=True)
class EmbeddingMixture(Feed):
    """The mean embedding of the likeliest tokens, weighted by their probabilities.

    Source: kexue.fm/archives/7818: with 4 tokens or all of them at best equal to the state itself.

    Args:
        top_k: how many tokens, whose probabilities are made to add up to 1; ``None`` means all.
        temperature: of the softmax.

    Note:
        ``top_k=None`` copies the embedding once per level.

    Example:
        >>> embedding = torch.nn.Embedding.from_pretrained(torch.tensor([[0.0], [1.0], [9.0]]))
        >>> logits = torch.tensor([[[2.0, 2.0, -9.0]]])
        >>> EmbeddingMixture(top_k=2)(torch.zeros(1, 1, 1), logits, Vocabulary(embedding, 3)).item()
        0.5
    """

    top_k: int | None = 4
    temperature: float = 1.0
    needs_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.top_k is not None:
            checked_number("top_k", self.top_k, least=1, whole=True, hint="None takes all")
        checked_number("temperature", self.temperature, above=0)

    def fed(self, hidden: Tensor, logits: Tensor | None, vocabulary: Vocabulary | None) -> Tensor:
        """The mean embedding."""
        scores, vocabulary = _scores(self, logits, vocabulary)
        scores = scores / self.temperature
        if self.top_k is None:
            return _mixed(scores.softmax(-1), vocabulary)
        best, ids = scores.topk(min(self.top_k, scores.shape[-1]))  # (batch, length, k)
        near = vocabulary.embed(ids)  # (batch, length, k, width)
        return (best.softmax(-1).to(near.dtype).unsqueeze(-2) @ near).squeeze(-2)


class Argmax(Feed):
    """The embedding of the likeliest token. No gradient reaches the level before, whatever ``detach`` says.

    Example:
        >>> embedding = torch.nn.Embedding.from_pretrained(torch.tensor([[0.0], [7.0]]))
        >>> Argmax()(torch.zeros(1, 1, 1), torch.tensor([[[0.0, 1.0]]]), Vocabulary(embedding, 2)).item()
        7.0
    """

    needs_logits: ClassVar[bool] = True

    def fed(self, hidden: Tensor, logits: Tensor | None, vocabulary: Vocabulary | None) -> Tensor:
        """The token's embedding."""
        scores, vocabulary = _scores(self, logits, vocabulary)
        return vocabulary.embed(scores.argmax(-1))


@dataclass(frozen=True)
class Gumbel(Feed):
    """The embedding of a token that is drawn, with the gradient of a mixture of all (Gumbel softmax).

    Source: arXiv 1611.01144. Neither paper nor post have tried it for TeaForN.

    Args:
        temperature: of the mixture; small ones are close to a token, and have large gradients.
        hard: what is read is one token's embedding (straight-through); else it is the mixture itself.

    Note:
        Copies the embedding once per level.

    Example:
        >>> embedding = torch.nn.Embedding.from_pretrained(torch.tensor([[0.0], [7.0]]))
        >>> Gumbel()(torch.zeros(1, 1, 1), torch.tensor([[[-99.0, 99.0]]]), Vocabulary(embedding, 2)).item()
        7.0
    """

    temperature: float = 1.0
    hard: bool = True
    needs_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_number("temperature", self.temperature, above=0)

    def fed(self, hidden: Tensor, logits: Tensor | None, vocabulary: Vocabulary | None) -> Tensor:
        """The embedding."""
        scores, vocabulary = _scores(self, logits, vocabulary)
        return _mixed(F.gumbel_softmax(scores, self.temperature, self.hard), vocabulary)


def _mixed(shares: Tensor, vocabulary: Vocabulary) -> Tensor:
    table = vocabulary.embed(torch.arange(shares.shape[-1], device=shares.device))  # (classes, width)
    return shares.to(table.dtype) @ table


def _scores(feed: Feed, logits: Tensor | None, vocabulary: Vocabulary | None) -> tuple[Tensor, Vocabulary]:
    scores, known = _needed(feed, "logits", logits), _needed(feed, "vocabulary", vocabulary)
    scores = scores[..., : known.size]  # a head may be padded beyond the embedding
    return scores.to(torch.promote_types(scores.dtype, torch.float32)), known


def _needed(feed: Feed, name: str, given: T | None) -> T:
    if given is None:
        raise ValueError(f"{type(feed).__name__} needs {name}=, which was not given")
    return given
