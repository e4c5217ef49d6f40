"""What a decoder reads at each level: at the first one right tokens, at the next ones its own states."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nlpkit.teaforn.feeds import Feed, Vocabulary


class Level(NamedTuple):
    """What a decoder makes of the embeddings of one level.

    Attributes:
        hidden: its last states, shape ``(batch, length, width)``.
        logits: of each position, shape ``(batch, length, classes)``; ``None`` where nobody needs them.
    """

    hidden: Tensor
    logits: Tensor | None = None


#: From embeddings ``(batch, length, width)`` to what the decoder makes of them: the same positions at each level.
Run = Callable[[Tensor], Level]


def levels(
    run: Run,
    embeddings: Tensor,
    n: int,
    feed: Feed,
    *,
    replaced: Tensor | None = None,
    vocabulary: Vocabulary | None = None,
) -> list[Level]:
    """Run a decoder on right tokens, then on its own states in their place, and so on.

    Source: TeaForN, arXiv 2010.03494, section 3, and kexue.fm/archives/7818: level ``s`` reads at a position what
    level ``s - 1`` gave one position earlier; all levels share all weights, and predict the same tokens.

    Args:
        run: the decoder.
        embeddings: of the right tokens, shape ``(batch, length, width)``.
        n: how many levels; 1 is teacher forcing.
        feed: makes of states what the next level reads.
        replaced: positions where the next level reads states, shape ``(batch, length)``; the others keep their
            embeddings. ``None`` means all but the first.
        vocabulary: the input embedding, for feeds that look at it.

    Returns:
        The levels, ``n`` of them. What level ``s`` gives at a position depends on tokens that are read ``s - 1``
        positions earlier, or before.

    Raises:
        ValueError: ``n`` is below 1; shapes do not fit; or the feed needs what is not given.

    Note:
        As many passes of the decoder as levels, and as much memory, unless ``run`` forgets its activations
        (``torch.utils.checkpoint``).

    Example:
        >>> from nlpkit.teaforn.feeds import Raw
        >>> found = levels(lambda states: Level(states.cumsum(1)), torch.ones(1, 3, 1), 2, Raw())
        >>> [level.hidden.flatten().tolist() for level in found]
        [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]
    """
    if n < 1:
        raise ValueError(f"n={n} levels: give 1, which is teacher forcing, or more")
    if replaced is None:
        replaced = torch.ones(embeddings.shape[:2], dtype=torch.bool, device=embeddings.device)
        replaced[:, :1] = False
    found = [run(embeddings)]
    while len(found) < n:
        found.append(run(next_embeddings(found[-1], embeddings, feed, replaced=replaced, vocabulary=vocabulary)))
    return found


def next_embeddings(
    level: Level, embeddings: Tensor, feed: Feed, *, replaced: Tensor, vocabulary: Vocabulary | None = None
) -> Tensor:
    """What the level behind a level reads.

    Args:
        level: the level.
        embeddings: of the right tokens, shape ``(batch, length, width)``.
        feed: as for ``levels``.
        replaced: as for ``levels``; never the first position, which nothing precedes.
        vocabulary: as for ``levels``.

    Returns:
        Of the shape and dtype of the embeddings.

    Raises:
        ValueError: what the feed gives is not as wide as the embeddings, or a first position is to be replaced.

    Example:
        >>> from nlpkit.teaforn.feeds import Raw
        >>> read = next_embeddings(Level(torch.full((1, 3, 1), 5.0)), torch.ones(1, 3, 1), Raw(),
        ...                        replaced=torch.tensor([[False, False, True]]))
        >>> read.flatten().tolist()
        [1.0, 1.0, 5.0]
    """
    if replaced.device.type == "cpu" and replaced[:, :1].any():  # elsewhere a look would wait for the device
        raise ValueError("replaced holds a first position, before which there is no state to read: set it to False")
    before = Level(level.hidden[:, :-1], None if level.logits is None else level.logits[:, :-1])
    fed = feed(before.hidden, before.logits, vocabulary)
    if fed.shape[-1] != embeddings.shape[-1]:
        raise ValueError(
            f"the decoder's states are {fed.shape[-1]} wide and its embeddings {embeddings.shape[-1]}, so that "
            f"{type(feed).__name__} cannot feed them: use EmbeddingMixture, which feeds embeddings"
        )
    shifted = torch.cat([embeddings[:, :1], fed.to(embeddings.dtype)], dim=1)  # (batch, length, width)
    return torch.where(replaced.unsqueeze(-1), shifted, embeddings)


def repeated(replaced: Tensor, level: int) -> Tensor:
    """Where a level gives what the level before it gave already, since it has read the same up to there.

    Args:
        replaced: as for ``levels``.
        level: its number, from 1 on.

    Returns:
        ``True`` there, shape ``(batch, length)``; nowhere at level 1.

    Example:
        >>> [repeated(torch.tensor([[False, True, True, True]]), level).int().tolist() for level in (1, 2, 3)]
        [[[0, 0, 0, 0]], [[1, 0, 0, 0]], [[1, 1, 0, 0]]]
    """
    new = torch.ones_like(replaced)
    for _ in range(level - 1):
        before = torch.cat([torch.zeros_like(new[:, :1]), new[:, :-1]], dim=1)
        new = (replaced & before).cummax(dim=1).values
    return ~new
