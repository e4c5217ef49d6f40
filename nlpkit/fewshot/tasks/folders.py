"""Folders of splits, in the layouts that benchmarks are published in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nlpkit.fewshot.tasks.reading import read_examples
from nlpkit.fewshot.tasks.task import FewShotTask
from nlpkit.pet import Example
from nlpkit.text_files import open_bytes


@dataclass(frozen=True)
class Layout:
    """Names of a task's files, without ``.xz``, which each of them may have after its name.

    Args:
        train: training file; ``{split}`` stands for the split's number.
        dev: development file, likewise.
        test: labelled test file, the same for every split.
        unlabelled: file of texts without labels, the same for every split.
    """

    train: str
    dev: str
    test: str
    unlabelled: str


#: ``train_0.json`` to ``train_4.json`` with their ``dev_``, ``test_public.json``, ``unlabeled.json``.
FEWCLUE_LAYOUT = Layout("train_{split}.json", "dev_{split}.json", "test_public.json", "unlabeled.json")
#: One split; SuperGLUE's validation set is what papers report as the test.
FEWGLUE_LAYOUT = Layout("train.jsonl", "dev32.jsonl", "val.jsonl", "unlabeled.jsonl")


@dataclass(frozen=True)
class TaskFolder:
    """A task and the folder its splits lie in.

    Files are read when they are asked for, and each time anew, so that no run can change what the next one sees.

    Args:
        task: the task.
        path: its folder.
        layout: how the files are named.

    Raises:
        FileNotFoundError: there is no such folder.
    """

    task: FewShotTask
    path: Path
    layout: Layout = FEWCLUE_LAYOUT

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise FileNotFoundError(f"there is no folder {self.path} with the splits of {self.task.name}")

    def splits(self) -> tuple[int, ...]:
        """Numbers of the splits that have a training file; ``(0,)`` where the layout has but one.

        Raises:
            FileNotFoundError: there is none.
        """
        if "{split}" not in self.layout.train:
            self._existing(self.layout.train)
            return (0,)
        before, after = self.layout.train.split("{split}")
        names = {path.name.removesuffix(".xz") for path in self.path.glob(f"{before}*{after}*")}
        numbers = {name.removeprefix(before).removesuffix(after) for name in names if name.endswith(after)}
        found = tuple(sorted(int(number) for number in numbers if number.isdecimal()))
        if not found:
            raise FileNotFoundError(f"{self.path} holds no {self.layout.train}; give the folder of a task")
        return found

    def train(self, split: int) -> list[Example]:
        """The training examples of a split.

        Raises:
            FileNotFoundError: there is no such split.
            ValueError: the file is empty, or a line of it is not an example of the task; the message names it.
        """
        return self._labelled(self.layout.train.format(split=split))

    def dev(self, split: int) -> list[Example]:
        """The development examples that belong to a split; raises as ``train``."""
        return self._labelled(self.layout.dev.format(split=split))

    def other_dev(self, split: int) -> list[Example]:
        """The development examples of the other splits, each once, except those that this split trains or selects on.

        Benchmarks withhold tests; these are labelled examples that a run of the split has not seen either. Raises as
        ``train``.
        """
        seen = {_texts(example) for part in (self.train(split), self.dev(split)) for example in part}
        others = (example for other in self.splits() if other != split for example in self.dev(other))
        unseen = {_texts(example): example for example in others if _texts(example) not in seen}
        return list(unseen.values())

    def test(self) -> list[Example] | None:
        """The labelled test examples, or ``None`` where the file is withheld or absent; raises as ``train``."""
        return None if self.find(self.layout.test) is None else self._labelled(self.layout.test)

    def unlabelled(self) -> list[Example] | None:
        """The texts without labels, or ``None`` where there is no such file; a file may be empty.

        Raises:
            ValueError: a line is not an example of the task; the message names it.
        """
        path = self.find(self.layout.unlabelled)
        return None if path is None else read_examples(path, self.task, labelled=False)

    def find(self, name: str) -> Path | None:
        """The file of a name, plain or ``.xz``, or ``None``.

        Raises:
            ValueError: there are both, so that one might be stale.
        """
        found = [path for path in (self.path / name, self.path / f"{name}.xz") if path.is_file()]
        if len(found) == 2:
            raise ValueError(f"{found[0]} lies beside {found[1].name}; remove one of them")
        return found[0] if found else None

    def fingerprint(self, split: int, test: bool = True) -> dict[str, str]:
        """What identifies the data of a split.

        Args:
            split: the split's number.
            test: whether the test file belongs to it.

        Returns:
            Part to the SHA-256 (first 16 digits) of its uncompressed bytes, ``"absent"`` or ``"left out"``.
        """
        others = {f"dev {other}": self.layout.dev.format(split=other) for other in self.splits() if other != split}
        names = {
            "train": self.layout.train.format(split=split),
            "dev": self.layout.dev.format(split=split),
            **others,
            "unlabelled": self.layout.unlabelled,
            "test": self.layout.test,
        }
        prints = {part: _fingerprint(self.find(name)) for part, name in names.items()}
        return prints if test else prints | {"test": "left out"}

    def _labelled(self, name: str) -> list[Example]:
        path = self._existing(name)
        examples = read_examples(path, self.task)
        if not examples:
            raise ValueError(f"{path} holds no examples; every split of {self.task.name} needs some")
        return examples

    def _existing(self, name: str) -> Path:
        path = self.find(name)
        if path is None:
            raise FileNotFoundError(f"{self.path} holds neither {name} nor {name}.xz")
        return path


def parse_splits(text: str) -> tuple[int, ...]:
    """Read numbers of splits or seeds.

    Args:
        text: numbers and ranges with both ends, e.g. ``"0-4"`` or ``"0,2,7-9"``.

    Returns:
        The numbers in their order.

    Raises:
        ValueError: anything else, an empty range, or a number twice.

    Example:
        >>> parse_splits("0,2-4")
        (0, 2, 3, 4)
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"cannot read {text!r}; give numbers and ranges such as 0-4 or 0,2")
        numbers.extend(range(int(first), int(last or first) + 1))
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"{text!r} means {numbers}; give every number once, and ranges from low to high")
    return tuple(numbers)


def check_splits(folder: TaskFolder, splits: Sequence[int]) -> None:
    """Refuse splits that a folder lacks before anything runs.

    Raises:
        ValueError: a split has no training file; the message lists those there are.
    """
    there = folder.splits()
    if missing := [split for split in splits if split not in there]:
        raise ValueError(f"{folder.path} has no split {missing}; it has {list(there)}")


def _texts(example: Example) -> tuple[object, ...]:
    return (tuple(sorted(example.fields.items())), example.candidates)


def _fingerprint(path: Path | None) -> str:
    if path is None:
        return "absent"
    state = path.stat()
    return _hash_of_content(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _hash_of_content(path: Path, modified: int, size: int) -> str:
    # The last two are there so that a changed file is hashed anew.
    with open_bytes(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]  # type: ignore[arg-type]
