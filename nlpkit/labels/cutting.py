"""Where to cut texts that are too long."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_SENTENCE_ENDS = frozenset("。！？；!?;\n")


def cut_places(
    text: str, offsets: Sequence[tuple[int, int]], room: int, joined: Collection[int] = frozenset()
) -> list[int]:
    """The characters at which to cut a text so that each piece has few tokens.

    Args:
        text: to be cut.
        offsets: the span of each token, ascending, without special tokens.
        room: tokens a piece may have.
        joined: characters before which nothing is cut, such as those inside an entity.

    Returns:
        Where pieces begin, 0 first. They end after a sentence where one ends in the second half of a piece, else
        between two tokens, and within a token only where nothing else is left.

    Raises:
        ValueError: ``room`` is below 1, or what must not be cut is too long.

    Note:
        A piece may be tokenized otherwise by itself, and then have a token more.

    Example:
        >>> cut_places("天气很好。我们来了", [(i, i + 1) for i in range(9)], 6)
        [0, 5]
        >>> cut_places("天气很好。我们来了", [(i, i + 1) for i in range(9)], 6, joined={5})
        [0, 6]
    """
    if room < 1:
        raise ValueError(f"a piece has room for {room} tokens; give more")
    cuts, first = [0], 0
    while len(offsets) - first > room:
        limit = offsets[first + room][0]
        borders = {start for start, end in offsets[first + 1 : first + room + 1] if start < end}
        places = [cut for cut in range(cuts[-1] + 1, min(limit + 1, len(text))) if cut not in joined]
        free = [cut for cut in places if cut in borders] or places
        if not free:
            raise ValueError(
                f"a span that begins at or before character {cuts[-1]} is too long to fit in max_length tokens"
            )
        ends = [cut for cut in free if cut > (cuts[-1] + limit) // 2 and text[cut - 1] in _SENTENCE_ENDS]
        cuts.append(ends[-1] if ends else free[-1])
        first = next(index for index in range(first, len(offsets)) if offsets[index][0] >= cuts[-1])
    return cuts
