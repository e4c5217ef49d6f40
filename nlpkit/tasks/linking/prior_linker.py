"""Linking by counts alone: the same way to use as with a model, and what a model is to be compared with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nlpkit.checked_number import checked_number
from nlpkit.tasks.given_texts import given_texts
from nlpkit.tasks.linking.knowledge.knowledge_base import KnowledgeBase
from nlpkit.tasks.linking.link import Link
from nlpkit.tasks.linking.mentions.alias_index import AliasIndex, Match
from nlpkit.tasks.linking.mentions.candidates import Mention, as_mention, find_mentions
from nlpkit.tasks.linking.mentions.decoding import choose_links
from nlpkit.tasks.linking.mentions.prior import MentionPrior
from nlpkit.tasks.linking.scored_texts import LogProbabilities, ScoredTexts

Texts = Iterable[str] | Mapping[str, Iterable[str]] | Path


class PriorLinker:
    """Finds names in texts and links them by how often they were linked in training texts.

    Args:
        knowledge_base: to link to.
        prior: counted on training texts; without one, every name is as probable as its rivals.
        least_prior: names that are linked less often are no candidates.
        most_entities: candidates of a name; ``None`` means all.
        whole_words: as of ``AliasIndex``.

    Example:
        >>> from nlpkit.tasks.linking import Entry
        >>> base = KnowledgeBase([Entry("Q1", "苹果", description="水果"), Entry("Q2", "苹果公司", ("苹果",))])
        >>> prior = MentionPrior.count(AliasIndex.of(base), ["苹果涨价了"], [[Link(0, 2, "苹果", "Q2")]])
        >>> PriorLinker(base, prior).predict(["他买了苹果"], threshold=0.4)
        [[Link(start=3, end=5, mention='苹果', entity='Q2', score=0.444...)]]
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        prior: MentionPrior | None = None,
        *,
        least_prior: float = 0.0,
        most_entities: int | None = None,
        whole_words: bool = True,
    ) -> None:
        if not isinstance(knowledge_base, KnowledgeBase):
            raise TypeError(
                f"knowledge_base is a {type(knowledge_base).__name__}; give a KnowledgeBase, or read a file with "
                "KnowledgeBase.read"
            )
        self.knowledge_base = knowledge_base
        self.index = AliasIndex.of(knowledge_base, whole_words=whole_words)
        self.prior = MentionPrior({}, {}) if prior is None else prior
        self.least_prior, self.most_entities = least_prior, most_entities
        self.mentions("")  # refuses settings that cannot be

    def mentions(self, text: str, *, known: Sequence[Link] | None = None) -> list[Mention]:
        """Names in a text with their candidates, as ``find_mentions``."""
        return find_mentions(
            text,
            self.index,
            self.prior,
            least_prior=self.least_prior,
            most_entities=self.most_entities,
            known=known,
        )

    def predict(
        self,
        texts: Texts,
        *,
        threshold: float = 0.5,
        most: int | None = None,
        batch_size: int = 32,
        show_progress: bool = False,
    ) -> list[list[Link]]:
        """Link texts.

        Args:
            texts: a list, a Series, or whatever else holds texts, or a table with a column ``text``; of any length.
            threshold: probability of an entity beside NIL that must be exceeded; see ``choose_links``.
            most: links per text at most.
            batch_size: mentions per batch, of a model.
            show_progress: draw a progress bar, likewise.

        Returns:
            The links of each text, in order, without overlaps.

        Raises:
            TypeError: a text is no string, or one text is given in place of a list.
            ValueError: the threshold is not between 0 and 1, ``most`` is below 1, or a model gives numbers that are
                none.
        """
        choose_links("", [], [], threshold=threshold, most=most)  # refuses settings before any work
        return self.scored(texts, batch_size=batch_size, show_progress=show_progress).links(threshold, most)

    def scored(self, texts: Texts, *, batch_size: int = 32, show_progress: bool = False) -> ScoredTexts:
        """Find and score the mentions in texts, to choose links later; the arguments are those of ``predict``."""
        given = given_texts(texts)
        mentions = [self.mentions(text) for text in given]
        logs = self.score(given, mentions, batch_size=batch_size, show_progress=show_progress)
        return ScoredTexts(given, mentions, logs)

    def choose(
        self,
        texts: Texts,
        spans: Sequence[Sequence[tuple[int, int] | Link | Mention]],
        *,
        batch_size: int = 32,
        show_progress: bool = False,
    ) -> list[list[str | None]]:
        """Say which entity each given mention stands for, none of them being NIL.

        Args:
            texts: as for ``predict``.
            spans: of each text its mentions: start and end, or a ``Link`` or ``Mention``.
            batch_size: as for ``predict``.
            show_progress: likewise.

        Returns:
            Ids; ``None`` where a mention is no name of any entity.

        Raises:
            TypeError: a mention is none.
            ValueError: there are not as many texts as rows of mentions, or a mention does not lie in its text.
        """
        given = given_texts(texts)
        if not _is_row(spans):
            raise TypeError(f"spans is {spans!r}; give a row of mentions for each text, [(start, end), ...]")
        if len(given) != len(spans):
            raise ValueError(f"{len(given)} texts and {len(spans)} rows of mentions; give one row per text")
        matches = [_matches(text, own, number) for number, (text, own) in enumerate(zip(given, spans, strict=True))]
        rows = [[as_mention(match, self.index, self.prior, self.most_entities) for match in own] for own in matches]
        logs = self.score(given, rows, batch_size=batch_size, show_progress=show_progress)
        return [
            [_best(mention, values) for mention, values in zip(row, own_logs, strict=True)]
            for row, own_logs in zip(rows, logs, strict=True)
        ]

    def score(
        self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]], *, batch_size: int, show_progress: bool
    ) -> list[LogProbabilities]:
        """Log probabilities of NIL and of each candidate, of each mention of each text."""
        return [
            [
                [math.log1p(-mention.prior), *(math.log(mention.prior * share) for share in mention.shares)]
                for mention in row
            ]
            for row in mentions
        ]


def _is_row(given: object) -> bool:
    """Whether something holds one thing for each of several others, as a list does."""
    return isinstance(given, Sequence) and not isinstance(given, str)


def _matches(text: str, spans: Sequence[tuple[int, int] | Link | Mention], number: int) -> list[Match]:
    """The mentions of a text as what the index would find."""
    if not _is_row(spans):
        raise TypeError(f"the mentions of text {number} are {spans!r}; give a list of (start, end)")
    found = []
    for span in spans:
        try:
            start, end = (span.start, span.end) if isinstance(span, Link | Mention) else span
        except (TypeError, ValueError):
            raise TypeError(f"text {number} has the mention {span!r}; give (start, end)") from None
        for place in (start, end):
            checked_number(
                f"mention {span!r} of text {number} must be two whole numbers; its place", place, whole=True
            )
        if not 0 <= start < end <= len(text):
            raise ValueError(f"mention {(start, end)} does not lie in a text of {len(text)} characters")
        found.append(Match(int(start), int(end), text[start:end]))
    return found


def longest_links(texts: Texts, index: AliasIndex) -> list[list[Link]]:
    """Link every name that is the longest one from the left, to the first entity that has it: no counts, no model.

    Args:
        texts: as for ``PriorLinker.predict``.
        index: of the names.

    Returns:
        The links of each text, in order, each with a score of 1.

    Example:
        >>> longest_links(["北京大学在北京"], AliasIndex({"北京": ("Q1", "Q9"), "北京大学": ("Q2",)}))[0][1]
        Link(start=5, end=7, mention='北京', entity='Q1', score=1.0)
    """
    return [
        [Link(start, end, text[start:end], index.entities(alias)[0]) for start, end, alias in index.find_longest(text)]
        for text in given_texts(texts)
    ]


def _best(mention: Mention, logs: Sequence[float]) -> str | None:
    return max(zip(logs[1:], mention.entities, strict=True), key=lambda pair: pair[0])[1] if mention.entities else None
