"""Make or cut the sets that recipes/teaforn.py compares on: tasks where teacher forcing is known to fail, and texts.

    python recipes/teaforn_data.py star_graph data/teaforn/star_graph
    python recipes/teaforn_data.py polynomials data/teaforn/polynomials
    python recipes/teaforn_data.py checksum data/teaforn/checksum
    python recipes/teaforn_data.py multi30k data/teaforn/multi30k --folder $NLPKIT_DATA/seq2seq/multi30k
    python recipes/teaforn_data.py classical_modern data/teaforn/classical_modern \
        --folder $NLPKIT_DATA/seq2seq/classical-modern

Each writes train.jsonl, dev.jsonl and test.jsonl, rows of ``source`` and ``target``. What is made at random is made
alike each time, and no source stands in two parts.
"""

from __future__ import annotations

import json
import random
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from nlpkit.files import write_text
from nlpkit.runs import run_recipe
from nlpkit.text_files import read_lines

Row = dict[str, str]
Parts = dict[str, list[Row]]
#: Of polynomials: coefficients modulo this, and powers below that.
PRIME, POWERS = 7, 5


def star_graph(options: Namespace, draw: random.Random) -> Row:
    """The way from the centre of a star to the end of one of its arms, of which edges are given in no order.

    Source: arXiv 2403.06963. Once the first node is right, each further one follows from the one before; the first one
    follows from the end alone. Who learns the easy part only is right once in ``arms`` times.
    """
    nodes = draw.sample(range(options.nodes), 1 + options.arms * (options.length - 1))
    centre, rest = nodes[0], nodes[1:]
    ways = [[centre, *rest[arm :: options.arms]] for arm in range(options.arms)]
    edges = [f"{one} {other}" for way in ways for one, other in pairwise(way)]
    draw.shuffle(edges)
    way = draw.choice(ways)
    return {"source": f"{' | '.join(edges)} / {centre} {way[-1]}", "target": " ".join(map(str, way))}


def polynomials(options: Namespace, draw: random.Random) -> Row:
    """The value of an expression of polynomials, coefficients modulo 7, powers below 5.

    Source: after the arithmetic tasks of arXiv 2404.19737, without its composition.
    """
    text, value = _expression(draw.randint(1, options.operations), draw)
    return {"source": text, "target": " ".join(map(str, value))}


def _expression(operations: int, draw: random.Random) -> tuple[str, list[int]]:
    if operations == 0:
        value = [draw.randrange(PRIME) for _ in range(POWERS)]
        return " ".join(map(str, value)), value
    left = draw.randrange(operations)
    sign = draw.choice("+-*")
    (one, first), (other, second) = _expression(left, draw), _expression(operations - 1 - left, draw)
    return f"( {one} {sign} {other} )", _value(first, sign, second)


def _value(first: list[int], sign: str, second: list[int]) -> list[int]:
    if sign == "*":
        return [sum(first[n] * second[power - n] for n in range(power + 1)) % PRIME for power in range(POWERS)]
    return [(a + b if sign == "+" else a - b) % PRIME for a, b in zip(first, second, strict=True)]


def checksum(options: Namespace, draw: random.Random) -> Row:
    """Digits copied as their running sums modulo 10, behind the last of these: what comes first is known last."""
    digits = [draw.randrange(10) for _ in range(draw.randint(options.length, 2 * options.length))]
    sums = [sum(digits[: place + 1]) % 10 for place in range(len(digits))]
    return {"source": " ".join(map(str, digits)), "target": " ".join(map(str, [sums[-1], *sums]))}


#: Tasks that are made.
MADE: dict[str, Callable[[Namespace, random.Random], Row]] = {
    "star_graph": star_graph,
    "polynomials": polynomials,
    "checksum": checksum,
}


def made(make: Callable[[Namespace, random.Random], Row], options: Namespace) -> Parts:
    """Rows of a task, each source once.

    Raises:
        ValueError: there are not as many different ones.
    """
    draw, rows, missed = random.Random(options.seed), dict[str, Row](), 0
    wanted = {part: getattr(options, part) for part in ("test", "dev", "train")}
    while len(rows) < sum(wanted.values()):
        row = make(options, draw)
        missed = missed + 1 if row["source"] in rows else 0
        rows[row["source"]] = row
        if missed > 1000:
            raise ValueError(f"{options.task} has hardly more than {len(rows)} different sources: ask for fewer rows")
    found = iter(rows.values())
    return {part: [next(found) for _ in range(number)] for part, number in wanted.items()}


def multi30k(folder: Path) -> Parts:
    """Captions of pictures, English to German."""
    names = {"train": ("train.en.xz", "train.de.xz"), "dev": ("val.en", "val.de.xz")}
    names["test"] = ("test_2016_flickr.en", "test_2016_flickr.de.xz")
    return {part: _pairs(*(list(read_lines(folder / name)) for name in files)) for part, files in names.items()}


def classical_modern(folder: Path) -> Parts:
    """Classical Chinese to modern Chinese; half of the chapters of the set's dev part are for test."""
    train, dev = (
        [line.split("\t") for line in read_lines(folder / f"{part}.tsv.xz") if line] for part in ("train", "dev")
    )
    cut = {"train": train, "dev": dev[: len(dev) // 2], "test": dev[len(dev) // 2 :]}
    return {part: _pairs(*map(list, zip(*rows, strict=True))) for part, rows in cut.items()}


#: Sets that are cut.
PUBLIC: dict[str, Callable[[Path], Parts]] = {"multi30k": multi30k, "classical_modern": classical_modern}


def _pairs(sources: list[str], targets: list[str]) -> list[Row]:
    both = zip(sources, targets, strict=True)
    return [{"source": source, "target": target} for source, target in both if source and target]


def without_shared_sources(parts: Parts) -> Parts:
    """Leave out of train what stands in dev or test too, and of dev what stands in test."""
    kept: Parts = {}
    seen: set[str] = set()
    for part in ("test", "dev", "train"):
        kept[part] = [row for row in parts[part] if row["source"] not in seen]
        seen |= {row["source"] for row in kept[part]}
    return kept


def main(argv: list[str]) -> None:
    """Write the three files."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=[*MADE, *PUBLIC])
    parser.add_argument("output", type=Path)
    parser.add_argument("--folder", type=Path, help="of a public set")
    parser.add_argument("--train", type=int, default=100_000, help="rows to make; of a public set, all that are there")
    parser.add_argument("--dev", type=int, default=1000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", type=int, default=4, help="of a star")
    parser.add_argument("--length", type=int, default=5, help="nodes of an arm with the centre; least digits to sum")
    parser.add_argument("--nodes", type=int, default=50, help="names that nodes may have")
    parser.add_argument("--operations", type=int, default=2, help="most in an expression")
    options = parser.parse_args(argv)
    if options.task in PUBLIC and options.folder is None:
        raise ValueError(f"{options.task} is a public set: give its folder, --folder $NLPKIT_DATA/seq2seq/...")
    if options.task == "star_graph" and options.nodes < 1 + options.arms * (options.length - 1):
        raise ValueError(
            f"a star of {options.arms} arms of {options.length} nodes needs {1 + options.arms * (options.length - 1)} "
            f"names, and nodes={options.nodes}"
        )
    parts = (
        made(MADE[options.task], options)
        if options.task in MADE
        else without_shared_sources(PUBLIC[options.task](options.folder))
    )
    for part, rows in parts.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(options.output / f"{part}.jsonl", lines)
        print(f"{part}: {len(rows)} rows")


if __name__ == "__main__":
    run_recipe(main)
