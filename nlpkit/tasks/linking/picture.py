"""How probable the candidates of names are, as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from nlpkit.pictures import picture
from nlpkit.tasks.linking.knowledge.knowledge_base import KnowledgeBase
from nlpkit.tasks.linking.scored_texts import ScoredTexts

#: Characters of a text that are shown on either side of a name.
_AROUND = 16


class _Bar(NamedTuple):
    name: str
    probability: float
    colour: str


class _Group(NamedTuple):
    title: str
    bars: list[_Bar]
    least: float  # probability that an entity must have more than to be linked


def plot_candidates(
    scored: ScoredTexts,
    knowledge_base: KnowledgeBase,
    path: str | Path,
    *,
    threshold: float = 0.5,
    most: int | None = None,
) -> None:
    """Draw how probable each candidate of each name is, and that it is none of them, and which ones are linked.

    Args:
        scored: a few texts, as ``EntityLinker.scored`` and ``PriorLinker.scored`` make them.
        knowledge_base: says what the entities are called.
        path: the file, see ``nlpkit.pictures.picture``; the same texts give the same file.
        threshold: as of ``choose_links``, as the next one; drawn as the probability that must be exceeded beside that
            of none.
        most: links of a text at most.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra ``viz``).
        ValueError: no name was found in the texts, or as of ``choose_links``.
    """
    groups = _groups(scored, knowledge_base, threshold, most)
    if not groups:
        raise ValueError(f"no name of the knowledge base stands in the {len(scored.texts)} texts; give others")
    lines = sum(1 + len(group.bars) for group in groups)
    with picture(
        path, [text for group in groups for text in (group.title, *(bar.name for bar in group.bars))]
    ) as figure:
        figure.set_size_inches(6.4, 1.0 + 0.24 * lines)
        axes = figure.add_subplot()
        top, names = 0, {}
        for title, bars, least in groups:
            axes.text(0.005, top, _plain(title), fontsize=9, va="center")
            for line, bar in enumerate(bars, start=top + 1):
                axes.barh(line, bar.probability, height=0.7, color=bar.colour)
                axes.text(bar.probability + 0.01, line, f"{bar.probability:.2f}", fontsize=7, va="center")
                names[line] = _plain(bar.name)
            axes.plot([least, least], [top + 0.6, top + len(bars) - 0.6], color="C3", linewidth=1.2)
            top += 1 + len(bars)
        axes.set_yticks([*names], [*names.values()])
        axes.set_ylim(lines - 0.4, -0.7)
        axes.set_xlim(0, 1.08)
        axes.set_xlabel("probability. Blue: linked; dark: none; red line: what a linked one must exceed", fontsize=8)
        axes.tick_params(length=0, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)


def _groups(scored: ScoredTexts, knowledge_base: KnowledgeBase, threshold: float, most: int | None) -> list[_Group]:
    """Each mention in its text, with its candidates, the most probable one first, and none of them behind."""
    groups = []
    links = scored.links(threshold, most)
    for text, mentions, logs, own in zip(scored.texts, scored.mentions, scored.log_probabilities, links, strict=True):
        chosen = {(link.start, link.end, link.entity) for link in own}
        for mention, (none, *values) in zip(mentions, logs, strict=True):
            bars = [
                _Bar(
                    f"{knowledge_base[entity].name} ({entity})",
                    math.exp(value),
                    "C0" if (mention.start, mention.end, entity) in chosen else "0.8",
                )
                for entity, value in zip(mention.entities, values, strict=True)
            ]
            bars.sort(key=lambda bar: -bar.probability)
            least = math.exp(none) * threshold / (1 - threshold)
            title = _marked(text, mention.start, mention.end)
            groups.append(_Group(title, [*bars, _Bar("none", math.exp(none), "0.45")], min(1.0, least)))
    return groups


def _marked(text: str, start: int, end: int) -> str:
    """A name in brackets, and what stands around it, on one line."""
    before = text[:start] if start <= _AROUND else "…" + text[start - _AROUND : start]
    behind = text[end:] if len(text) - end <= _AROUND else text[end : end + _AROUND] + "…"
    return " ".join(f"{before}【{text[start:end]}】{behind}".split())


def _plain(text: str) -> str:
    """Text that is no markup: a dollar sign would start a formula."""
    return text.replace("$", r"\$")
