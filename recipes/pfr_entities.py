"""Turn the tagged People's Daily of January 1998 into named entities: train, dev and test files of JSON lines.

    python recipes/pfr_entities.py pfr-199801.tagged.utf8.xz data/pfr-entities

The corpus (PFR, by Peking University and Fujitsu) has a line of ``word/POS`` tokens per paragraph. Persons (nr),
places (ns) and organisations (nt) become spans; a surname and the given name after it, two tokens there, become one.

``--nested`` makes a set of nested spans of it: surnames and given names in persons (江/nr 泽民/nr); places in
addresses, which are two or more places in a row (河北/ns 保定/ns); and places in organisations, which go from a place
over nouns to one that ends like an organisation (中国/ns 国际/n 广播/vn 电台/n). What is inside is the corpus's own;
addresses and such organisations are made by this rule and by nobody's judgement, so the set compares ways of finding
nested spans, and does not tell how well organisations are found.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from nlpkit.files import write_text
from nlpkit.labels import Span
from nlpkit.runs import run_recipe
from nlpkit.text_files import read_lines

TYPES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
#: Parts of speech that the name of an organisation is made of, behind its place, and how such names end.
NOMINAL = frozenset({"n", "vn", "nz", "j", "b", "ns", "nt"})
_ends_like_an_organisation = re.compile(
    ".*(政府|委员会|公司|集团|银行|大学|学院|中学|小学|医院|电台|电视台|报社|出版社|研究所|研究院|法院|检察院|公安局|部队"
    "|协会|学会|联合会|厂|局|厅|军|队|党)"
).fullmatch
#: Any single character tagged as a name by itself counts as a surname, and so do these compound ones.
_is_surname = re.compile(
    ".|欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|司徒|令狐|端木|夏侯|南宫|宇文|长孙|呼延"
).fullmatch
#: Lines left out between the parts, so that no article is on both sides of a border.
GAP = 100

Example = dict[str, Any]


def join_names(names: Sequence[str]) -> list[str]:
    """Join the surnames and given names in a run of adjacent ``nr`` tokens; bylines list several people in a run.

    Args:
        names: the tokens of the run.

    Returns:
        One string per person.

    Example:
        >>> join_names(["江", "泽民", "李", "鹏", "乌叶海亚", "欧阳", "修"])
        ['江泽民', '李鹏', '乌叶海亚', '欧阳修']
        >>> join_names(["陈", "方", "安生"])  # the husband's surname before her own
        ['陈方安生']
    """
    if [len(name) for name in names] == [1, 1, 2]:
        return ["".join(names)]
    people: list[str] = []
    waiting = iter(names)
    for name in waiting:
        people.append(name + next(waiting, "") if _is_surname(name) else name)
    return people


def read_line(line: str, nested: bool = False) -> Example:
    """Read one line of the corpus.

    Args:
        line: ``word/POS`` tokens separated by white space.
        nested: whether to keep what is inside names, and to make names of several, as the module says.

    Returns:
        ``text`` (the words without the spaces between them) and ``spans`` of ``(start, end, type)``.

    Raises:
        ValueError: a token has no tag.

    Example:
        >>> read_line("记者/n 兰/nr 红光/nr 在/p 北京/ns")
        {'text': '记者兰红光在北京', 'spans': [Span(start=2, end=5, label='PER'), Span(start=6, end=8, label='LOC')]}
        >>> for span in read_line("江/nr 明/nr 在/p 河北/ns 保定/ns 大学/n", nested=True)["spans"]:
        ...     print("江明在河北保定大学"[span.start : span.end], span.label)
        江明 PER
        江 SURNAME
        明 GIVEN
        河北 LOC
        河北保定 ADDRESS
        河北保定大学 ORG
        保定 LOC
    """
    tokens = [token.rpartition("/") for token in line.split()]
    untagged = next((tag for word, _, tag in tokens if not word), None)
    if untagged is not None:
        raise ValueError(f"token {untagged!r} has no tag; lines hold word/POS tokens")
    text = ""
    spans: list[Span] = []
    for tag, run in groupby(tokens, key=lambda token: token[2]):
        words = [word for word, _, _ in run]
        for word in join_names(words) if tag == "nr" else words:
            if tag in TYPES:
                spans.append(Span(len(text), len(text) + len(word), TYPES[tag]))
            text += word
    if nested:
        pairs = [(word, tag) for word, _, tag in tokens]
        every = {*spans, *inside_persons(spans, pairs), *around_places(pairs)}
        spans = sorted(every, key=lambda span: (span.start, span.label != "PER", span.end))
    return {"text": text, "spans": spans}


def inside_persons(spans: Sequence[Span], tokens: Sequence[tuple[str, str]]) -> list[Span]:
    """The surnames and given names in persons of two tokens or more: the last one is given."""
    found, place = [], 0
    persons = {span.start: span for span in spans if span.label == "PER"}
    for word, tag in tokens:
        end = place + len(word)
        person = next((one for one in persons.values() if one.start <= place and end <= one.end), None)
        if tag == "nr" and person is not None and (place, end) != person[:2]:
            found.append(Span(place, end, "GIVEN" if end == person.end else "SURNAME"))
        place = end
    return found


def around_places(tokens: Sequence[tuple[str, str]]) -> list[Span]:
    """Addresses, which are places in a row, and organisations that begin with a place."""
    starts = [0]
    for word, _ in tokens:
        starts.append(starts[-1] + len(word))
    found, first = [], 0
    while first < len(tokens):
        if tokens[first][1] != "ns":
            first += 1
            continue
        places = first
        while places < len(tokens) and tokens[places][1] == "ns":
            places += 1
        if places - first > 1:
            found.append(Span(starts[first], starts[places], "ADDRESS"))
        behind = places
        while behind < len(tokens) and tokens[behind][1] in NOMINAL:
            behind += 1
        ends = [n for n in range(places, behind) if tokens[n][1] == "nt" or _ends_like_an_organisation(tokens[n][0])]
        if ends:
            found.append(Span(starts[first], starts[ends[-1] + 1], "ORG"))
        first = places
    return found


def split_by_order(examples: Sequence[Example], gap: int = GAP) -> dict[str, list[Example]]:
    """Cut the month into its first 80%, the next 10% and the last 10%.

    Neighbouring lines belong to one article, so lines are never shuffled between parts; ``gap`` lines around each
    border are left out, and so are lines of a later part whose text an earlier part has.

    Args:
        examples: in the order of publication.
        gap: lines left out at each border.

    Returns:
        ``train``, ``dev`` and ``test``.
    """
    first, second = len(examples) * 8 // 10, len(examples) * 9 // 10
    parts = {
        "train": examples[: first - gap],
        "dev": examples[first : second - gap],
        "test": examples[second:],
    }
    seen: set[str] = set()
    kept: dict[str, list[Example]] = {}
    for name, part in parts.items():
        kept[name] = [example for example in part if example["text"] not in seen]
        seen |= {example["text"] for example in part}
    return kept


def main(argv: Sequence[str]) -> None:
    """Convert the corpus named first into the folder named second."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="the tagged file, plain, .gz or .xz")
    parser.add_argument("folder", type=Path, help="for train.jsonl, dev.jsonl and test.jsonl")
    parser.add_argument("--nested", action="store_true", help="keep names inside names")
    given = parser.parse_args(argv)
    examples = [read_line(line, given.nested) for line in read_lines(given.corpus) if line.strip()]
    for name, part in split_by_order(examples).items():
        lines = (json.dumps(example, ensure_ascii=False) + "\n" for example in part)
        write_text(given.folder / f"{name}.jsonl", "".join(lines))
        entities = sum(len(example["spans"]) for example in part)
        print(f"{name}: {len(part)} lines, {sum(len(e['text']) for e in part)} characters, {entities} entities")


if __name__ == "__main__":
    run_recipe(main)
