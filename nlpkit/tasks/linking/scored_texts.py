"""Texts whose mentions have probabilities, from which any threshold gives links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nlpkit.tasks.linking.link import Link
from nlpkit.tasks.linking.mentions.candidates import Mention
from nlpkit.tasks.linking.mentions.decoding import choose_links
from nlpkit.tasks.linking.scores import score_links

#: Of NIL first and then of each entity, of each mention.
LogProbabilities = list[list[float]]
THRESHOLDS = tuple(number / 20 for number in range(1, 20))


class ScoredTexts(NamedTuple):
    """What ``PriorLinker.scored`` and ``EntityLinker.scored`` make of texts.

    Args:
        texts: as they were given.
        mentions: of each text.
        log_probabilities: of each of them, of NIL first and then of its entities.
    """

    texts: Sequence[str]
    mentions: Sequence[Sequence[Mention]]
    log_probabilities: Sequence[LogProbabilities]

    def links(self, threshold: float = 0.5, most: int | None = None) -> list[list[Link]]:
        """The links of each text; the arguments are those of ``choose_links``."""
        rows = zip(self.texts, self.mentions, self.log_probabilities, strict=True)
        return [choose_links(*row, threshold=threshold, most=most) for row in rows]

    def best_threshold(
        self,
        gold: Sequence[Sequence[Link]],
        most: int | None = None,
        thresholds: Sequence[float] = THRESHOLDS,
    ) -> float:
        """The threshold with the largest F1 end to end; of several, the one that is next to a half.

        Args:
            gold: the links of each text, of texts for choosing settings, not of those that are reported.
            most: links per text at most.
            thresholds: to choose from.

        Raises:
            ValueError: there are no texts, or not as many on both sides.

        Example:
            >>> mentions = [[Mention(0, 2, ("Q1",), 0.5, (1.0,))], [Mention(0, 1, ("Q2",), 0.5, (1.0,))]]
            >>> scored = ScoredTexts(["北京", "好"], mentions, [[[-0.7, -0.7]], [[-0.4, -1.1]]])
            >>> scored.best_threshold([[Link(0, 2, "北京", "Q1")], []])
            0.45
        """
        scores = {number: score_links(gold, self.links(number, most)).links.f1 for number in thresholds}
        return max(thresholds, key=lambda number: (scores[number], -abs(number - 0.5)))
