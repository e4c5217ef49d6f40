"""Results of runs: one line of JSON each, in a file that survives being killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from nlpkit.files import read_json

#: What can be scored, the most telling last: the split's own dev, the dev of the other splits, the test.
PARTS = ("dev", "other_dev", "test")

#: In a grid's folder: what its runs were made with, by the hash that results name.
FACTS = "settings.json"


class RunKey(NamedTuple):
    """What tells the runs of a grid apart."""

    task: str
    method: str
    split: int
    seed: int

    def __str__(self) -> str:
        return f"{self.task}/{self.method}/split {self.split}/seed {self.seed}"


@dataclass(frozen=True)
class RunResult:
    """What is kept of a run.

    Args:
        task: name of the task.
        method: name of the method.
        split: number of the split.
        seed: the run's seed.
        settings_hash: of the settings and the data, which ``settings.json`` beside the results holds in full.
        dev: metric to score on the split's own development examples; ``None`` of a run that failed.
        other_dev: the same of the other splits' development examples; ``None`` where there are none.
        test: the same of the test; ``None`` where it was not scored.
        test_state: ``"scored"``, ``"absent"`` (the file is withheld), ``"left out"`` (not asked for) or ``"failed"``.
        sizes: part to its number of examples.
        seconds: wall-clock time of training and selecting.
        predict_seconds: wall-clock time of predicting all that is scored.
        peak_rss_mb: highest resident memory of the process meanwhile, in MB.
        details: what the method tells of the run, e.g. the chosen step.
        error: of a run that failed, the error's kind and message.
        version: of nlpkit.
    """

    task: str
    method: str
    split: int
    seed: int
    settings_hash: str
    dev: dict[str, float] | None = None
    other_dev: dict[str, float] | None = None
    test: dict[str, float] | None = None
    test_state: str = "failed"
    sizes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    predict_seconds: float = 0.0
    peak_rss_mb: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    version: str = ""

    @property
    def key(self) -> RunKey:
        """Task, method, split and seed."""
        return RunKey(self.task, self.method, self.split, self.seed)

    def score(self, part: str) -> float | None:
        """The task's own score on one of ``PARTS``, if there is one.

        Raises:
            ValueError: another part.
        """
        if part not in PARTS:
            raise ValueError(f"scores are of {', '.join(map(repr, PARTS))}; got {part!r}")
        scores: dict[str, float] | None = getattr(self, part)
        return next(iter(scores.values())) if scores else None


class ResultsFile:
    """A file of results to append to.

    Args:
        path: the file; it need not exist.

    Note:
        Each result is written by one call and synchronised with the disk before ``append`` returns. What a killed
        process may have left of a line is taken away before the next line is written. One process at a time.

    Example:
        >>> import tempfile
        >>> results = ResultsFile(Path(tempfile.mkdtemp(), "results.jsonl"))
        >>> results.append(RunResult("t", "m", 0, 0, "1f", dev={"accuracy": 0.5}))
        >>> [str(result.key) for result in results.read()]
        ['t/m/split 0/seed 0']
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, result: RunResult) -> None:
        """Add a line, whole or not at all."""
        line = (json.dumps(asdict(result), ensure_ascii=False) + "\n").encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            end = self._end_of_last_line(descriptor)
            os.ftruncate(descriptor, end)
            written = os.pwrite(descriptor, line, end)
            if written < len(line):
                os.ftruncate(descriptor, end)
                raise OSError(f"{self.path}: the disk took {written} of {len(line)} bytes; the line was taken back")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> list[RunResult]:
        """Read the file; what was cut off at its end is passed over.

        Returns:
            The results in the order of writing; none if there is no file.

        Raises:
            ValueError: a whole line is not a result; the message names it.
        """
        if not self.path.is_file():
            return []
        results = []
        for number, line in enumerate(self.path.read_bytes().split(b"\n")[:-1], start=1):
            try:
                results.append(RunResult(**json.loads(line)))
            except (ValueError, TypeError) as error:
                names = ", ".join(each.name for each in fields(RunResult))
                raise ValueError(f"{self.path}, line {number} is not a result with {names}: {error}") from error
        return results

    def latest(self) -> dict[RunKey, RunResult]:
        """The result of each run: one that ended, or its last failure."""
        return latest_of(self.read())

    def _end_of_last_line(self, descriptor: int) -> int:
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, size, 0).rfind(b"\n") + 1


def latest_of(results: Iterable[RunResult]) -> dict[RunKey, RunResult]:
    """The result of each run: one that ended, or its last failure.

    Args:
        results: in the order of writing.

    Returns:
        Key to result, in the order in which the runs first appear.
    """
    latest: dict[RunKey, RunResult] = {}
    for result in results:
        if result.error is None or latest.get(result.key, result).error is not None:
            latest[result.key] = result
    return latest


def read_facts(output: str | Path) -> dict[str, Any]:
    """What the runs in a grid's folder were made with: ``settings`` and ``data`` by the hash that results name.

    Args:
        output: the folder; without the file, nothing is known.
    """
    path = Path(output) / FACTS
    return read_json(path) if path.is_file() else {}


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say what changed between two nested mappings of JSON values.

    Example:
        >>> differences({"data": {"test": "absent"}, "k": 1}, {"data": {"test": "1f"}, "k": 1})
        ["data.test was 'absent' and is now '1f'"]
    """
    found = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name} was {old!r} and is now {new!r}")
    return found
