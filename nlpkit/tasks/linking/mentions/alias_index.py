"""Where the names of a knowledge base stand in texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from nlpkit.extras import install_hint
from nlpkit.one_text import refuse_one_text
from nlpkit.tasks.linking.knowledge.knowledge_base import KnowledgeBase

#: Marks that choose among forms of a character, and make no other one of it.
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


class Match(NamedTuple):
    """A name in a text.

    Args:
        start: first character.
        end: one past the last character.
        alias: the name as the index knows it, folded.
    """

    start: int
    end: int
    alias: str


class AliasIndex:
    """All names of entities, found in a text in one pass over it (Aho-Corasick).

    Source: Aho and Corasick, *Efficient string matching*, 1975; longest match as in kexue.fm/archives/6919. The
    automaton is that of the package ahocorasick_rs (the extra ``linking``).

    Args:
        names: each with the ids of the entities that it may stand for, as ``KnowledgeBase.names`` gives them.
        whole_words: whether a name must not begin or end within a run of digits, or of letters of a script with
            capitals, as "rio" in "mario", marks on a letter being part of it; Chinese has no such runs.

    Raises:
        ModuleNotFoundError: ahocorasick_rs is not installed.
        TypeError: names are no mapping, a name is no text, or stands for one text in place of a list of ids.
        ValueError: there are no names, or one is empty, or stands for nothing.

    Note:
        Texts and names are compared folded, character by character: without capitals, and full-width letters as
        ordinary ones. So offsets are those of the text itself.

    Example:
        >>> index = AliasIndex({"北京": ("Q1",), "北京大学": ("Q2",), "大学生": ("Q3",), "ｅＤＧ": ("Q4",)})
        >>> [match[:2] for match in index.find_all("北京大学生看Edg")]
        [(0, 2), (0, 4), (2, 5), (6, 9)]
        >>> [match[:2] for match in index.find_longest("北京大学生看Edg")]
        [(0, 4), (6, 9)]
        >>> index.entities("EDG")
        ('Q4',)
    """

    def __init__(self, names: Mapping[str, Sequence[str]], *, whole_words: bool = True) -> None:
        if not isinstance(names, Mapping):
            raise TypeError(f"names is a {type(names).__name__}; give the ids of each name, {{name: [id, ...]}}")
        self.names, self.whole_words = names, whole_words
        self._entities: dict[str, dict[str, None]] = {}
        for name, ids in names.items():
            refuse_one_text(f"what {name!r} stands for", ids, "ids")
            if not isinstance(name, str):
                raise TypeError(f"a name is {name!r}, a {type(name).__name__}; give a text")
            if not name:
                raise ValueError("a name is empty; every text would hold it everywhere")
            if not len(ids):
                raise ValueError(f"the name {name!r} stands for no entity; give at least one id, or leave it out")
            self._entities.setdefault(fold(name), {}).update(dict.fromkeys(ids))
        if not self._entities:
            raise ValueError("there are no names to look for; give at least one")
        self._aliases = list(self._entities)
        self._automaton = _automaton(self._aliases)

    @classmethod
    def of(cls, knowledge_base: KnowledgeBase, *, whole_words: bool = True) -> AliasIndex:
        """The names of a knowledge base."""
        return cls(knowledge_base.names(), whole_words=whole_words)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (dict(self.names), self.whole_words)  # the automaton itself cannot be pickled

    def __len__(self) -> int:
        return len(self._aliases)

    def entities(self, alias: str) -> tuple[str, ...]:
        """Ids of the entities that a name may stand for, none where it is no name; folded or not."""
        return tuple(self._entities.get(fold(alias), ()))

    def find_all(self, text: str) -> list[Match]:
        """Every name in a text, also within and across one another.

        Args:
            text: any.

        Returns:
            By start, then by end.

        Raises:
            TypeError: it is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"text is {text!r}, a {type(text).__name__}; give one text")
        folded = fold(text)
        found = (
            Match(start, end, self._aliases[number])
            for number, start, end in self._automaton.find_matches_as_indexes(folded, overlapping=True)
        )
        return sorted(match for match in found if not self.whole_words or stands_alone(folded, match.start, match.end))

    def find_longest(self, text: str) -> list[Match]:
        """Names without overlaps, from the left: of those that begin first the longest, then on behind it.

        Args:
            text: any.

        Returns:
            In order.
        """
        chosen: list[Match] = []
        for start, matches in groupby(self.find_all(text), key=lambda match: match.start):
            if not chosen or start >= chosen[-1].end:
                chosen.append(max(matches, key=lambda match: match.end))
        return chosen


def fold(text: str) -> str:
    """A text of the same length by which names are compared.

    Args:
        text: any; half a surrogate pair, which no file can hold, becomes the replacement character.

    Example:
        >>> fold("ＥＤＧ与İstanbul①")
        'edg与istanbul1'
        >>> fold("ΟΔΟΣ") == fold("οδος")
        True
    """
    return "".join(map(_fold_character, text))


@lru_cache(maxsize=65536)
def _fold_character(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    plain = unicodedata.normalize("NFKC", character)
    plain = plain if len(plain) == 1 else character
    folded = plain.casefold()  # also of letters that have two small forms, as sigma at the end of a word
    # Of what becomes two, as a dotted capital I, the letter without its mark; a sharp s stays one.
    return folded if len(folded) == 1 else plain.lower()[0]


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a span begins and ends where a run of letters or digits does; a mark belongs to what it stands on.

    Example:
        >>> stands_alone("mario", 2, 5), stands_alone("n95口罩", 1, 3), stands_alone("看mario", 1, 6)
        (False, True, True)
        >>> stands_alone("cafe\u0301s", 0, 4), stands_alone("cafe\u0301 s", 0, 5)
        (False, True)
    """
    return not any(_within_run(text, place) for place in (start, end))


def _within_run(text: str, place: int) -> bool:
    """Whether what stands before a place goes on behind it."""
    if not 0 < place < len(text):
        return False
    if _is_mark(text[place]):
        return True
    before = place - 1
    while before > 0 and _is_mark(text[before]):
        before -= 1
    pair = text[before] + text[place]
    return pair.isdecimal() or all(character.lower() != character.upper() for character in pair)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Mc", "Me") and not _SELECTORS.match(character)


def _automaton(aliases: Iterable[str]) -> Any:
    try:
        from ahocorasick_rs import AhoCorasick
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"names are looked for by ahocorasick_rs, which is not installed; {install_hint('linking')}",
            name="ahocorasick_rs",
        ) from error
    return AhoCorasick(aliases)


def _rebuilt(names: Mapping[str, Sequence[str]], whole_words: bool) -> AliasIndex:
    return AliasIndex(names, whole_words=whole_words)
