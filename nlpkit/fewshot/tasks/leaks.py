"""Texts that stand in two parts of a data set, so that a score measures memory."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from nlpkit.fewshot.tasks.folders import TaskFolder
from nlpkit.pet import Example

#: What two examples must share to count as one.
Key = tuple[str, ...]


def raw_key(example: Example) -> Key:
    """The texts of an example as they are."""
    return tuple(example.fields.values())


def normalised_key(example: Example) -> Key:
    """The texts of an example without white space, differences of width (full or half) and of case.

    Example:
        >>> normalised_key(Example({"text": "Ｇｏｏｄ　!"})) == normalised_key(Example({"text": "good！"}))
        True
    """
    return tuple("".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in example.fields.values())


@dataclass(frozen=True)
class Overlap:
    """How many examples of one part of a data set have a twin in another part, or earlier in the same part.

    Args:
        part: the part whose examples are counted.
        other: the part that is searched.
        size: examples in ``part``.
        raw: those with a twin of exactly the same texts.
        normalised: those with a twin except for white space, width and case; at least ``raw``.
        contradicting: those whose (normalised) twins all have another label.
    """

    part: str
    other: str
    size: int
    raw: int
    normalised: int
    contradicting: int


def find_overlaps(parts: Mapping[str, Sequence[Example]]) -> list[Overlap]:
    """Count exact duplicates between all pairs of parts, and within each.

    Args:
        parts: name to examples; of each pair, the examples of the later one are counted.

    Returns:
        One row per pair, those within a part included, in the parts' order.

    Note:
        Linear in the number of examples. The texts decide, candidates do not.

    Example:
        >>> train = [Example({"text": "很好"}, "1"), Example({"text": "很差"}, "0")]
        >>> test = [Example({"text": "很 好"}, "0"), Example({"text": "还行"}, "1")]
        >>> find_overlaps({"train": train, "test": test})[1]
        Overlap(part='test', other='train', size=2, raw=0, normalised=1, contradicting=1)
    """
    return _overlaps([_Part(name, examples) for name, examples in parts.items()])


def overlaps_of_splits(folder: TaskFolder, splits: Iterable[int]) -> dict[int, list[Overlap]]:
    """Count the duplicates of each split of a task.

    Args:
        folder: the task's folder.
        splits: numbers of splits.

    Returns:
        Split to the overlaps between its train and dev, the texts without labels and the test, as far as they exist.

    Raises:
        FileNotFoundError: there is no such split.
        ValueError: a file is broken.
    """
    files = {"unlabelled": folder.unlabelled(), "test": folder.test()}
    shared = [_Part(name, examples) for name, examples in files.items() if examples]
    return {
        split: _overlaps([_Part("train", folder.train(split)), _Part("dev", folder.dev(split)), *shared])
        for split in splits
    }


def leak_table(overlaps: Mapping[str, Mapping[int, Sequence[Overlap]]]) -> str:
    """The overlaps of several tasks as a Markdown table; pairs without any are left out.

    Args:
        overlaps: task to split to what ``find_overlaps`` found there.

    Returns:
        The table, with one number per split where they differ.
    """
    lines = ["| task | of | also in | size | same texts | same without spaces, width, case | with other labels only |"]
    lines.append("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    clean = []
    for task, of_splits in overlaps.items():
        rows = [group for group in zip(*of_splits.values(), strict=True) if any(row.normalised for row in group)]
        for group in rows:
            other = "the same part" if group[0].part == group[0].other else group[0].other
            counts = (_spread(getattr(row, name) for row in group) for name in _COUNTS)
            lines.append(f"| {task} | {group[0].part} | {other} | {' | '.join(counts)} |")
        if not rows:
            clean.append(task)
    return "\n".join(lines) + (f"\n\nNo duplicates in: {', '.join(clean)}." if clean else "") + "\n"


_COUNTS = ("size", "raw", "normalised", "contradicting")


def _spread(counts: Iterable[int]) -> str:
    numbers = list(counts)
    return str(numbers[0]) if len(set(numbers)) == 1 else " ".join(map(str, numbers))


class _Part:
    """The keys and labels of a part, made once however often it is compared."""

    def __init__(self, name: str, examples: Sequence[Example]) -> None:
        self.name = name
        self.raw = [raw_key(example) for example in examples]
        self.normalised = [normalised_key(example) for example in examples]
        self.labels = [example.label for example in examples]


def _overlaps(parts: Sequence[_Part]) -> list[Overlap]:
    pairs = combinations_with_replacement(parts, 2)
    return [_repetitions(part) if part is other else _shared(part, other) for other, part in pairs]


def _shared(part: _Part, other: _Part) -> Overlap:
    known_raw = set(other.raw)
    labels_there: dict[Key, set[str | None]] = {}
    for key, label in zip(other.normalised, other.labels, strict=True):
        labels_there.setdefault(key, set()).add(label)
    twins = [
        (label, labels_there[key])
        for key, label in zip(part.normalised, part.labels, strict=True)
        if key in labels_there
    ]
    return Overlap(
        part=part.name,
        other=other.name,
        size=len(part.raw),
        raw=sum(key in known_raw for key in part.raw),
        normalised=len(twins),
        contradicting=sum(label is not None and None not in there and label not in there for label, there in twins),
    )


def _repetitions(part: _Part) -> Overlap:
    first_label: dict[Key, str | None] = {}
    contradicting = 0
    for key, label in zip(part.normalised, part.labels, strict=True):
        contradicting += first_label.setdefault(key, label) != label
    return Overlap(
        part=part.name,
        other=part.name,
        size=len(part.raw),
        raw=len(part.raw) - len(set(part.raw)),
        normalised=len(part.raw) - len(first_label),
        contradicting=contradicting,
    )
