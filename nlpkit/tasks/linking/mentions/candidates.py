"""Names in a text that may be links, and the entities that each may stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nlpkit.checked_number import checked_number
from nlpkit.tasks.linking.link import Link
from nlpkit.tasks.linking.mentions.alias_index import AliasIndex, Match
from nlpkit.tasks.linking.mentions.prior import MentionPrior


class Mention(NamedTuple):
    """A name in a text, of which it is not known whether it is meant as one.

    Args:
        start: first character.
        end: one past the last character.
        entities: ids of the entities that it may stand for, the most probable ones first.
        prior: the probability that it is linked, as names of its kind are.
        shares: of each entity, the probability that a link goes to it.
    """

    start: int
    end: int
    entities: tuple[str, ...]
    prior: float
    shares: tuple[float, ...]


def find_mentions(
    text: str,
    index: AliasIndex,
    prior: MentionPrior,
    *,
    least_prior: float = 0.0,
    most_entities: int | None = None,
    known: Sequence[Link] | None = None,
) -> list[Mention]:
    """Find names in a text, and leave out those that are hardly ever meant.

    Source: kexue.fm/archives/6919.

    Args:
        text: any.
        index: of the names.
        prior: of the names.
        least_prior: least probability that a name is linked.
        most_entities: candidates of a name; the least probable ones are left out.
        known: links of the text where the prior was counted on it, too: its own counts are left out.

    Returns:
        By start, then by end; they may overlap.

    Raises:
        TypeError: one of both is no number.
        ValueError: ``least_prior`` is no probability below 1, or ``most_entities`` is below 1.

    Example:
        >>> index = AliasIndex({"什么": ("Q1",), "北京": ("Q2", "Q3")})
        >>> prior = MentionPrior.count(index, ["什么是北京"], [[Link(3, 5, "北京", "Q3")]])
        >>> find_mentions("北京有什么", index, prior, least_prior=0.4)
        [Mention(start=0, end=2, entities=('Q3', 'Q2'), prior=0.666..., shares=(0.666..., 0.333...))]
    """
    checked_number("least_prior", least_prior, least=0, below=1, hint="it is a probability")
    if most_entities is not None:
        checked_number("most_entities", most_entities, least=1, whole=True, hint="or None for all")
    if known is not None:
        prior = prior.without(MentionPrior.count(index, [text], [known]))
    mentions = (as_mention(match, index, prior, most_entities) for match in index.find_all(text))
    return [mention for mention in mentions if mention.prior >= least_prior]


def as_mention(match: Match, index: AliasIndex, prior: MentionPrior, most_entities: int | None = None) -> Mention:
    """A name in a text with its candidates.

    Args:
        match: the name; what is no name of the index has no candidates.
        index: as for ``find_mentions``.
        prior: likewise.
        most_entities: likewise.
    """
    start, end, alias = match
    entities = index.entities(alias)
    shares = prior.entity_probabilities(alias, entities)
    ranked = sorted(zip(entities, shares, strict=True), key=lambda pair: -pair[1])[:most_entities]
    chosen, of_chosen = tuple(entity for entity, _ in ranked), tuple(share for _, share in ranked)
    return Mention(start, end, chosen, prior.probability(alias), of_chosen)
