"""Texts that stand in two parts of a data set, so that a score measures memory."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from nlpkit.fewshot.folders import TaskFolder
from nlpkit.pet.examples import Example

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
        normalised: those with a twin but for white space, width and case; at least ``raw``.
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
        One row a pair, those within a part included, in the parts' order.

    Note:
        Linear in the number of examples. The texts decide, candidates do not.

    Example:
        >>> train = [Example({"text": "很好"}, "1"), Example({"text": "很差"}, "0")]
        >>> test = [Example({"text": "很 好"}, "0"), Example({"text": "还行"}, "1")]
        >>> find_overlaps({"train": train, "test": test})[1]
        Overlap(part='test', other='train', size=2, raw=0, normalised=1, contradicting=1)
    """
    keys = {
        name: ([raw_key(example) for example in examples], [normalised_key(example) for example in examples])
        for name, examples in parts.items()
    }
    labels = {name: [example.label for example in examples] for name, examples in parts.items()}
    return [
        _repetitions(name, *keys[name], labels[name])
        if name == other
        else _shared(name, *keys[name], labels[name], other, *keys[other], labels[other])
        for other, name in combinations_with_replacement(parts, 2)
    ]


def overlaps_of_splits(folder: TaskFolder, splits: Iterable[int]) -> dict[int, list[Overlap]]:
    """Count the duplicates of each split of a task.

    Args:
        folder: the task's folder.
        splits: numbers of splits.

    Returns:
        Split to the overlaps between its train and dev, the texts without labels and the test, as far as they exist.
    """
    shared = {"unlabelled": folder.unlabelled(), "test": folder.test()}
    there = {name: examples for name, examples in shared.items() if examples}
    return {
        split: find_overlaps({"train": folder.train(split), "dev": folder.dev(split), **there}) for split in splits
    }


def leak_table(overlaps: Mapping[str, Mapping[int, Sequence[Overlap]]]) -> str:
    """The overlaps of several tasks as a Markdown table; pairs without any are left out.

    Args:
        overlaps: task to split to what ``find_overlaps`` found there.

    Returns:
        The table, with one number a split where they differ.
    """
    lines = ["| task | of | also in | size | same texts | same but for spaces, width, case | with other labels only |"]
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


def _shared(
    part: str,
    raw: Sequence[Key],
    normalised: Sequence[Key],
    labels: Sequence[str | None],
    other: str,
    other_raw: Sequence[Key],
    other_normalised: Sequence[Key],
    other_labels: Sequence[str | None],
) -> Overlap:
    known_raw = set(other_raw)
    labels_there: dict[Key, set[str | None]] = {}
    for key, label in zip(other_normalised, other_labels, strict=True):
        labels_there.setdefault(key, set()).add(label)
    twins = [(key, label) for key, label in zip(normalised, labels, strict=True) if key in labels_there]
    return Overlap(
        part=part,
        other=other,
        size=len(raw),
        raw=sum(key in known_raw for key in raw),
        normalised=len(twins),
        contradicting=sum(
            label is not None and None not in labels_there[key] and label not in labels_there[key]
            for key, label in twins
        ),
    )


def _repetitions(part: str, raw: Sequence[Key], normalised: Sequence[Key], labels: Sequence[str | None]) -> Overlap:
    first_label: dict[Key, str | None] = {}
    contradicting = 0
    for key, label in zip(normalised, labels, strict=True):
        contradicting += first_label.setdefault(key, label) != label
    return Overlap(
        part=part,
        other=part,
        size=len(raw),
        raw=len(raw) - len(Counter(raw)),
        normalised=len(raw) - len(first_label),
        contradicting=contradicting,
    )
