"""Impact matrices of a large corpus on disk: written in the order of the sentences, resumed after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from nlpkit.files import whole_folder
from nlpkit.perturbed_masking.impact.measurement import Impact, Measure
from nlpkit.perturbed_masking.impact.units import TextOrWords
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking

_SETTINGS = "impact.json"
Item = TypeVar("Item")
Batches = Iterator[list[TextOrWords]]


class ImpactFolder:
    """A folder of safetensors files with the matrices of some sentences each, and ``impact.json`` with the settings.

    Args:
        path: the folder; made when it is filled.

    Example:
        >>> import tempfile, nlpkit
        >>> masking = PerturbedMasking.from_pretrained(nlpkit.model_path("wobert-mini-zh"), show_progress=False)
        >>> with tempfile.TemporaryDirectory() as path:
        ...     folder = ImpactFolder(path)
        ...     folder.fill(masking, ["天气很好", "酒店"])
        ...     [matrices.shape for matrices in folder]
        2
        [(1, 4, 4), (1, 2, 2)]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def fill(
        self,
        masking: PerturbedMasking,
        sentences: Iterable[TextOrWords],
        measures: Sequence[Measure] | None = None,
        *,
        reach: int | None = None,
        sentences_a_file: int = 64,
    ) -> int:
        """Measure sentences and write their matrices; what an earlier call wrote is kept and not measured again.

        Args:
            masking: model and settings.
            sentences: texts or lists of words, as many as you like; the same on every call, or more of them.
            measures: what to measure; by default what ``masking`` measures.
            reach: as for ``PerturbedMasking.impact``.
            sentences_a_file: an interruption loses some files' worth of work at most.

        Returns:
            The number of sentences that this call measured.

        Raises:
            ValueError: the folder holds the results of another model, other settings, or other sentences.

        Note:
            With ``across_processes`` the main process writes.
        """
        chosen = list(measures or [masking.measure])
        self._settle(
            {
                "weights": masking.encoder.fingerprint(),
                "measures": [list(measure) for measure in chosen],
                "units": masking.granularity,
                "overlong": masking.overlong,
                "bf16": masking.encoder.bf16,
                "reach": reach,
                "sentences_a_file": sentences_a_file,
            },
            masking.processes.is_main,
        )
        start, batches = self._skip_finished(_batches(sentences, sentences_a_file), sentences_a_file)
        digests: deque[str] = deque()

        def missing() -> Iterator[TextOrWords]:
            for batch in batches:
                digests.append(_digest(batch))
                yield from batch

        measured = 0
        found = _batches(masking.iter_measures(missing(), chosen, reach=reach), sentences_a_file)
        for number, matrices in enumerate(found, start):
            measured += len(matrices)
            digest = digests.popleft()
            if masking.processes.is_main:
                self._write(number, matrices, digest)
        return measured

    def __iter__(self) -> Iterator[Impact]:
        """The matrices of all sentences in order, each ``(measures, n, n)`` in fp32.

        Raises:
            FileNotFoundError: the folder was never filled.
        """
        if not (self.path / _SETTINGS).is_file():
            raise FileNotFoundError(f"{self.path} holds no {_SETTINGS}; ImpactFolder.fill writes one")
        for file in self._finished():
            with safe_open(file, framework="numpy") as tensors:
                for name in sorted(tensors.keys()):
                    yield tensors.get_tensor(name)

    def _finished(self) -> list[Path]:
        """The files there are, up to the first that is missing."""
        files: list[Path] = []
        while self._file(len(files)).is_file():
            files.append(self._file(len(files)))
        return files

    def _file(self, number: int) -> Path:
        return self.path / f"{number:06d}.safetensors"

    def _skip_finished(self, batches: Batches, full: int) -> tuple[int, Batches]:
        """The number of the first file to write, and the sentences from there on."""
        files = self._finished()
        for number, file in enumerate(files):
            batch = next(batches, None)
            if batch is None:
                return number, batches
            with safe_open(file, framework="numpy") as tensors:
                digest, count = tensors.metadata()["sentences"], len(tensors.keys())
            if digest != _digest(batch):
                if number == len(files) - 1 and count < full:  # the end of what was then a shorter corpus
                    return number, chain([batch], batches)
                raise ValueError(
                    f"{file} holds the matrices of other sentences; give the same sentences in the same order, or "
                    "another folder"
                )
        return len(files), batches

    def _settle(self, facts: dict[str, Any], writes: bool) -> None:
        """Write the settings down, or see that they are those written down."""
        path = self.path / _SETTINGS
        if path.is_file():
            before = json.loads(path.read_text("utf-8"))
            for name, value in facts.items():
                if before.get(name) != value:
                    raise ValueError(
                        f"{self.path} was filled with {name}={before.get(name)!r}, not {value!r}; give another folder"
                    )
        elif writes:
            with whole_folder(self.path) as draft:
                (draft / _SETTINGS).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")

    def _write(self, number: int, matrices: Sequence[Impact], digest: str) -> None:
        tensors = {f"{place:06d}": np.ascontiguousarray(found) for place, found in enumerate(matrices)}
        with whole_folder(self.path) as draft:
            save_file(tensors, draft / self._file(number).name, metadata={"sentences": digest})


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _digest(sentences: Sequence[TextOrWords]) -> str:
    content = json.dumps([sentence if isinstance(sentence, str) else list(sentence) for sentence in sentences])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
