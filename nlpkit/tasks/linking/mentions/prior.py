"""How often a name is meant as one, and whom it stands for then: counted, and smoothed."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from copy import copy
from pathlib import Path

from nlpkit.checked_number import checked_number
from nlpkit.files import read_json, write_json
from nlpkit.one_text import refuse_one_text
from nlpkit.tasks.linking.link import Link
from nlpkit.tasks.linking.mentions.alias_index import AliasIndex, fold


class MentionPrior:
    """The probability that a name in a text is linked, and to which entity, whatever the text.

    Source: kexue.fm/archives/6919: names that were hardly ever annotated are left out, and how often a name stood for
    an entity is known before the text is read. Smoothing after Laplace.

    Args:
        seen: how often each name, folded, stood in the texts that were counted.
        linked: how often it was linked to each entity.
        smoothing: occurrences that are added, linked ones and others, and to each entity; from 1e-6 to 1e9.

    Raises:
        TypeError: ``smoothing`` is no number, or counts are none.
        ValueError: one is out of its range, or a name was linked more often than seen.

    Note:
        Count training texts alone. Even these know their own answers: ``find_mentions(..., known=links)`` leaves the
        text's own counts out, which training needs, as else each of its names would be known to be one.

    Example:
        >>> index = AliasIndex({"什么": ("Q1",), "北京": ("Q2", "Q3")})
        >>> texts = ["北京是什么", "什么是北京", "什么"]
        >>> prior = MentionPrior.count(index, texts, [[Link(0, 2, "北京", "Q3")], [Link(3, 5, "北京", "Q3")], []])
        >>> prior.probability("北京"), prior.probability("什么"), prior.probability("上海")
        (0.75, 0.2, 0.5)
        >>> prior.entity_probabilities("北京", ["Q2", "Q3"])
        [0.25, 0.75]
    """

    def __init__(
        self,
        seen: MutableMapping[str, int],
        linked: MutableMapping[str, Mapping[str, int]],
        smoothing: float = 1.0,
    ) -> None:
        checked_number(
            "smoothing", smoothing, least=1e-6, most=1e9, hint="it keeps names possible that were never seen"
        )
        _check_counts("seen", seen)
        if not isinstance(linked, Mapping):
            raise TypeError(f"linked is a {type(linked).__name__}; it holds counts by name")
        for alias, counts in linked.items():
            _check_counts(f"linked[{alias!r}]", counts)
        self.seen, self.linked, self.smoothing = seen, linked, smoothing
        for alias in linked:
            self.probability(alias)

    @classmethod
    def count(
        cls, index: AliasIndex, texts: Iterable[str], links: Iterable[Sequence[Link]], smoothing: float = 1.0
    ) -> MentionPrior:
        """Count the names in texts.

        Args:
            index: finds names, also within one another.
            texts: for training.
            links: of each text, as ``read_links`` gives them: with a knowledge base it knows other ids, too. One to
                ``"NIL"``, where that is no id of the name, is none.
            smoothing: as for the class.

        Raises:
            TypeError: one text is given in place of a list, or a link is no ``Link``.
            ValueError: there are not as many texts as rows of links.
        """
        refuse_one_text("texts", texts)
        texts, links = list(texts), list(links)
        if len(texts) != len(links):
            raise ValueError(f"{len(texts)} texts and {len(links)} rows of links; give one row per text")
        seen: Counter[str] = Counter()
        linked: dict[str, Counter[str]] = {}
        for number, (text, row) in enumerate(zip(texts, links, strict=True)):
            if wrong := [link for link in row if not isinstance(link, Link)]:
                raise TypeError(f"text {number} has the link {wrong[0]!r}; give a Link, as read_links does")
            real = (link for link in row if link.entity != "NIL" or "NIL" in index.entities(link.mention))
            spans = {(link.start, link.end): link.entity for link in real}
            for start, end, alias in index.find_all(text):
                seen[alias] += 1
                if (start, end) in spans:
                    linked.setdefault(alias, Counter())[spans[start, end]] += 1
        return cls(seen, dict(linked), smoothing)

    def probability(self, alias: str) -> float:
        """That a name is linked where it stands in a text, above 0 and below 1; a half where it was never seen.

        Raises:
            ValueError: it was linked more often than seen.
        """
        alias = fold(alias)
        hits, seen = sum(self.linked.get(alias, {}).values()), self.seen.get(alias, 0)
        if hits > seen:
            raise ValueError(f"{alias!r} was linked {hits} times and seen {seen} times; count both in the same texts")
        return (hits + self.smoothing) / (seen + 2 * self.smoothing)

    def entity_probabilities(self, alias: str, entities: Sequence[str]) -> list[float]:
        """That a name which is linked stands for each of some entities.

        Args:
            alias: the name.
            entities: ids of all that it may stand for.

        Returns:
            They add up to 1.
        """
        counts = self.linked.get(fold(alias), {})
        weights = [counts.get(entity, 0) + self.smoothing for entity in entities]
        total = sum(weights)
        return [weight / total for weight in weights]

    def without(self, own: MentionPrior) -> MentionPrior:
        """The prior of the other texts.

        Args:
            own: that of some of the texts which were counted.

        Raises:
            ValueError: a name was not seen as often.
        """
        if any(self.seen.get(alias, 0) < count for alias, count in own.seen.items()):
            raise ValueError("these texts are not among those that were counted; count them, or leave known out")
        seen = {alias: self.seen[alias] - count for alias, count in own.seen.items()}
        linked: dict[str, Mapping[str, int]] = {
            alias: Counter(self.linked.get(alias, {})) - Counter(counts) for alias, counts in own.linked.items()
        }
        others = copy(self)  # whose counts need no looking at, text by text
        others.seen, others.linked = ChainMap(seen, self.seen), ChainMap(linked, self.linked)
        return others

    def save(self, path: str | Path) -> None:
        """Write a JSON file."""
        linked = {alias: dict(counts) for alias, counts in self.linked.items()}
        write_json(path, {"smoothing": self.smoothing, "seen": dict(self.seen), "linked": linked})

    @classmethod
    def read(cls, path: str | Path) -> MentionPrior:
        """Read what ``save`` wrote.

        Raises:
            ValueError: the file holds something else.
        """
        record = read_json(path)
        if missing := {"smoothing", "seen", "linked"} - record.keys():
            raise ValueError(f"{path} holds no prior: {', '.join(sorted(missing))} is missing; write it again")
        try:
            return cls(record["seen"], record["linked"], record["smoothing"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no prior: {error}; write it again") from error


def _check_counts(name: str, counts: object) -> None:
    if not isinstance(counts, Mapping):
        raise TypeError(f"{name} is a {type(counts).__name__}; it holds counts by name")
    for key, count in counts.items():
        checked_number(f"{name}[{key!r}]", count, least=0, whole=True)
