"""Work on texts for `scale_arithmetic.py`: each task in a process of its own, which tells time, output and memory."""

from __future__ import annotations

import lzma
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any

from nlpkit.cli.classify import judge
from nlpkit.cli.segment import cutter
from nlpkit.cli.tokenize import open_tokenizer, tokens_in_json
from nlpkit.perturbed_masking import CountedLinks, count_corpus
from nlpkit.pet import PetClassifier
from nlpkit.scale import TextFiles
from nlpkit.sources import find_model

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("NLPKIT_DATA") or ROOT.parent / "shared" / "data")
PARTS = ("reviews", "news", "web", "reading", "history", "tech")
MODEL = "wobert-mini-zh"
#: Megabytes of text, at first and again.
SIZES = {
    "read": (16, 64),
    "tokenise": (2, 8),
    "ids": (6, 24),
    "segment": (1, 4),
    "classify": (0.05, 0.2),
    "count": (8, 32),
}


def read_lines(megabytes: float) -> list[str]:
    """As much text, in equal shares from the beginnings of the parts of the corpus."""
    found: list[str] = []
    for part in PARTS:
        room = megabytes * 1e6 / len(PARTS)
        with lzma.open(DATA / "corpus-zh" / f"{part}.txt.xz", "rt", encoding="utf-8", newline="\n") as file:
            for line in file:
                found.append(line.removesuffix("\n"))
                room -= len(line.encode())
                if room <= 0:
                    break
    return found


def parts_of(lines: list[str]) -> Iterator[list[str]]:
    """A thousand lines at a time, as the verbs take them."""
    remaining = iter(lines)
    while part := list(islice(remaining, 1000)):
        yield part


def written(lines: list[str]) -> int:
    """What lines take in a file."""
    return sum(len(line.encode()) + 1 for line in lines)


def read(lines: list[str]) -> int:
    """As all engines read files, from one that was just written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "corpus.txt")
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return sum(0 for _ in TextFiles([path]))


def tokenise(work: Callable[[list[str]], list[str]], lines: list[str]) -> int:
    """As `nlpkit tokenize`: ids, pieces and offsets, as JSON."""
    return sum(written(work(part)) for part in parts_of(lines))


def ids(tokenizer: Any, lines: list[str]) -> int:
    """As pre-training packs them: four bytes per token."""
    encoded = (tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"] for part in parts_of(lines))
    return sum(4 * len(row) for rows in encoded for row in rows)


def segment(work: Callable[[list[str]], list[list[str]]], lines: list[str]) -> int:
    """As `nlpkit segment`: words by counted links, with a space between them."""
    return sum(written([" ".join(words) for words in work(part)]) for part in parts_of(lines))


def classify(work: Callable[[list[Any]], list[Any]], lines: list[str]) -> int:
    """As `nlpkit classify` with the shipped model: a label and its probability per text, which is cut off at 512."""
    asked = [[(line, {"text": line}) for line in part] for part in parts_of(lines)]
    return sum(len("good\t0.500\n") * len(work(part)) for part in asked)


def count(folder: str, lines: list[str]) -> int:
    """Sequences of one to three characters, as for words that nobody taught."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        count_corpus(lines, own, show_progress=False)
        return sum(path.stat().st_size for path in Path(own).iterdir())


def task(name: str, folder: str) -> Callable[[list[str]], int]:
    """The work of a name on lines, everything loaded."""
    opening = partial(open_tokenizer, find_model(MODEL))
    if name == "read":
        return read
    if name == "tokenise":
        return partial(tokenise, tokens_in_json(opening))
    if name == "ids":
        return partial(ids, opening())
    if name == "segment":
        return partial(segment, cutter(CountedLinks.from_pretrained("counts-zh"), 0.0, relative=True))
    if name == "classify":
        words = {"good": "好", "bad": "差"}
        return partial(
            classify, judge(PetClassifier.from_pretrained(find_model(MODEL), "{text}总之很{mask}。", words))
        )
    return partial(count, folder)


def work_on_texts(name: str, megabytes: float) -> dict[str, float]:
    """In this process: seconds, bytes written, and the largest memory."""
    lines = read_lines(megabytes)
    with tempfile.TemporaryDirectory() as folder:
        work = task(name, folder)
        work(lines[:5])
        begin = process_time()
        size = work(lines)
        seconds = process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"bytes": written(lines), "seconds": seconds, "written_bytes": size, "peak_bytes": peak}


def in_a_process(name: str, megabytes: float) -> dict[str, float]:
    """The same in a fresh process, which has imported what this one has."""
    with get_context("fork").Pool(1) as pool:
        return pool.apply(work_on_texts, (name, megabytes))
