"""Impact matrices of a large corpus on disk: written in the order of the sentences, resumed after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nlpkit.files import only_writer, whole_file
from nlpkit.perturbed_masking.impact.engine import Impact
from nlpkit.perturbed_masking.impact.measurement import Matrices, Measure, settled
from nlpkit.perturbed_masking.impact.units import TextOrWords, Units, UnitTokenizer
from nlpkit.perturbed_masking.perturbed_masking import PerturbedMasking
from nlpkit.runs import settle_facts

_SETTINGS = "impact.json"
Item = TypeVar("Item")
Batches = Iterator[list[TextOrWords]]


class ImpactFolder:
    """A folder of safetensors files with the matrices of some sentences each, and ``impact.json`` with the settings.

    Args:
        path: the folder; made when it is filled.

    Example:
        >>> import tempfile
        >>> masking = PerturbedMasking.from_pretrained("wobert-mini-zh", show_progress=False)
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
        measures: Sequence[Measure] = (),
        *,
        reach: int | None = None,
        sentences_per_file: int = 64,
    ) -> int:
        """Measure sentences and write their matrices; what an earlier call wrote is kept and not measured again.

        Args:
            masking: model and settings.
            sentences: as for ``PerturbedMasking.impact``, any number; the same on every call, or more of them.
            measures: what to measure; by default what ``masking`` measures.
            reach: as for ``PerturbedMasking.impact``.
            sentences_per_file: an interruption loses the work of a few files at most.

        Returns:
            The number of sentences that this call measured.

        Raises:
            BlockingIOError: another process is filling the folder.
            ValueError: the folder holds the results of another model, other settings, or other sentences; or one of
                its files is damaged.

        Note:
            With ``across_processes`` the main process writes.
        """
        if sentences_per_file < 1:
            raise ValueError(f"sentences_per_file={sentences_per_file} must be 1 or more")
        writes = masking.processes.is_main
        with only_writer(self.path) if writes else nullcontext():
            begins = not any(self.path.glob("*.safetensors"))
            if writes or not begins:
                chosen = [settled(measure, masking.encoder) for measure in measures or [masking.measure]]
                facts = {
                    "model": masking.encoder.fingerprint(),
                    "mask_token_id": masking.tokenizer.mask_token_id,
                    "measures": [list(measure) for measure in chosen],
                    "units": masking.units.granularity,
                    "overlong": masking.units.overlong,
                    "bf16": masking.encoder.bf16,
                    "reach": reach,
                    "sentences_per_file": sentences_per_file,
                }
                settle_facts(self.path / _SETTINGS, facts, begins=begins)
            start, missing = self._skip_finished(_batches(sentences, sentences_per_file), masking.units)
            if writes:
                self._forget_from(start)
            measured = 0
            impacts = masking.iter_measures(chain.from_iterable(missing), measures, reach=reach)
            for number, batch in enumerate(_batches(impacts, sentences_per_file), start):
                measured += len(batch)
                if writes:
                    self._write(number, batch)
            return measured

    def __iter__(self) -> Iterator[Matrices]:
        """The matrices of all sentences in order, each ``(measures, n, n)`` in fp32.

        Raises:
            FileNotFoundError: the folder was never filled.
            ValueError: a file is damaged.
        """
        if not (self.path / _SETTINGS).is_file():
            raise FileNotFoundError(f"{self.path} holds no {_SETTINGS}; ImpactFolder.fill writes one")
        for file in self._finished():
            with _opened(file) as tensors:
                for name in sorted(tensors.keys()):
                    yield tensors.get_tensor(name)

    def _finished(self) -> list[Path]:
        """The files there are, up to the first that is missing."""
        files: list[Path] = []
        while self._file(len(files)).is_file():
            files.append(self._file(len(files)))
        return files

    def _forget_from(self, number: int) -> None:
        """Remove files behind one that was missing: they are measured again, and may be of other sentences."""
        for file in self.path.glob("*.safetensors"):
            if file.stem.isdecimal() and int(file.stem) >= number:
                file.unlink()

    def _file(self, number: int) -> Path:
        return self.path / f"{number:06d}.safetensors"

    def _skip_finished(self, batches: Batches, units: UnitTokenizer) -> tuple[int, Batches]:
        """The number of the first file to write, and the sentences from there on."""
        files = self._finished()
        for number, file in enumerate(files):
            batch = next(batches, [])
            with _opened(file) as tensors:
                digest, count = (tensors.metadata() or {}).get("units"), len(tensors.keys())
            if len(batch) < count:
                raise ValueError(
                    f"{file} holds the matrices of {count} sentences, and {len(batch)} are given in their place; give "
                    "the same sentences as before or more of them, or another folder"
                )
            if digest != _digest([units(sentence) for sentence in batch[:count]]):
                raise ValueError(
                    f"{file} holds the matrices of other sentences or tokens; give the same sentences in the same "
                    "order and the same tokenizer, or another folder"
                )
            if len(batch) > count:  # the end of what was then a shorter corpus
                return number, chain([batch], batches)
        return len(files), batches

    def _write(self, number: int, batch: Sequence[Impact]) -> None:
        tensors = {f"{place:06d}": np.ascontiguousarray(one.matrices) for place, one in enumerate(batch)}
        with whole_file(self._file(number)) as draft:
            save_file(tensors, draft, metadata={"units": _digest([one.units for one in batch])})


@contextmanager
def _opened(file: Path) -> Iterator[safe_open]:
    try:
        with safe_open(file, framework="numpy") as tensors:
            yield tensors
    except SafetensorError as error:
        raise ValueError(
            f"{file} is damaged or cut off ({error}); delete it, and ImpactFolder.fill will write it again"
        ) from error


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _digest(units: Sequence[Units]) -> str:
    """Of the tokens that are masked, whatever made them."""
    content = json.dumps([[one.words, one.token_ids, one.owners] for one in units])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
