"""Counting a corpus, with the counts kept on disk: resumed after an interruption, never counted twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from tqdm.auto import tqdm

from nlpkit.files import only_writer
from nlpkit.one_text import refuse_one_text
from nlpkit.perturbed_masking.counts.corpus_counts import CorpusCounts, PartCounts, count_part, load_facts
from nlpkit.runs import settle_facts
from nlpkit.scale import Engine, TextFiles, characters_of, engine_of, parts_of

_FILE = "counts.safetensors"
_PARTS_PER_SAVE = 4


def count_corpus(
    texts: Iterable[str],
    folder: str | Path,
    *,
    memory: int | None = 1 << 30,
    processes: int | Engine = 1,
    part_characters: int = 1 << 22,
    show_progress: bool = True,
) -> CorpusCounts:
    """Count the sequences of one to three characters in a corpus.

    Args:
        texts: one paragraph or document each, streamed; the same on every call with this folder, or more of them.
        folder: where the counts are kept; what an earlier call counted there is not counted again.
        memory: bytes for the counts, as for ``CorpusCounts``; the parts of the corpus that are being counted take
            about 100 bytes per character beside them.
        processes: that count parts at a time, or an engine, such as ``RayData()`` for ``TextFiles``; the counts are
            the same with any.
        part_characters: an interruption loses the work on four parts of so many characters at most.
        show_progress: draw a progress bar when it takes over five seconds.

    Returns:
        The counts of the whole corpus.

    Raises:
        BlockingIOError: another process is counting in this folder.
        TypeError: ``texts`` is one text.
        ValueError: the folder holds the counts of another corpus or with other settings, or its file is damaged.

    Note:
        Seventy million characters take about half a minute. Where ``memory`` does not suffice for all sequences, the
        bounds also depend on ``part_characters``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     count_corpus(["天气好", "天气"], folder).count("天气")
        2
    """
    refuse_one_text("texts", texts)
    if part_characters < 1:
        raise ValueError(f"part_characters={part_characters} must be 1 or more")
    engine = engine_of(processes)
    path = Path(folder) / _FILE
    with only_writer(folder):
        settled = {"memory": memory, "part_characters": part_characters}
        settle_facts(path.with_name("counts.json"), settled, begins=not path.is_file())
        counts = CorpusCounts.load(path) if path.is_file() else CorpusCounts(memory)
        remaining, position = _after_counted(texts, path)
        parts = parts_of(remaining, characters_of(part_characters))
        since = 0
        with tqdm(
            desc="counting", unit=" characters", unit_scale=True, delay=5, disable=None if show_progress else True
        ) as bar:
            for part, counted in engine.map(parts, _counter):
                counts.add(counted)
                position.pass_over(part)
                since += 1
                if since == _PARTS_PER_SAVE:
                    counts.save(path, position.facts())
                    since = 0
                bar.update(sum(map(len, part)))
        if since or not path.is_file():
            counts.save(path, position.facts())
    return counts


class _Position:
    """How far a corpus was read, and what it read so far, to tell it from another one."""

    def __init__(self) -> None:
        self.texts, self._digest = 0, hashlib.blake2b(digest_size=16)

    def pass_over(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.texts += 1
            self._digest.update(text.encode("utf-8", "surrogatepass") + b"\n")

    def facts(self) -> dict[str, object]:
        return {"texts": self.texts, "digest": self._digest.hexdigest()}


def _after_counted(texts: Iterable[str], path: Path) -> tuple[Iterable[str], _Position]:
    """The texts that are not counted yet."""
    position = _Position()
    if not path.is_file():
        return texts, position
    facts = load_facts(path)
    number = int(str(facts["texts"]))
    read = iter(texts)
    position.pass_over(islice(read, number))
    if position.facts() != facts:
        raise ValueError(
            f"{path} holds the counts of other texts; give the same ones in the same order, or another folder"
        )
    return (texts.after(number) if isinstance(texts, TextFiles) else read), position


def _counter() -> Callable[[list[str]], PartCounts]:
    return _count_joined


def _count_joined(part: list[str]) -> PartCounts:
    return count_part("\n".join(part))
