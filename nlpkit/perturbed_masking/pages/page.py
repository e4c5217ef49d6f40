"""Parses on one page for a browser: trees, brackets and impact, with nothing to be fetched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

from nlpkit.files import whole_file
from nlpkit.perturbed_masking.drawings.svg import escape_text
from nlpkit.perturbed_masking.parses import Parse
from nlpkit.perturbed_masking.trees.impact_matrix import as_impact
from nlpkit.perturbed_masking.trees.phrases import phrases
from nlpkit.perturbed_masking.trees.tree import Tree

_HINT = "Point at a word: the others light up by their impact on it. Point at an arc or a cell for one number."


def save_page(parses: Iterable[Parse], path: str | Path, *, title: str = "Parses", gold: bool = False) -> None:
    """Write one HTML file that shows each parse as a tree, in brackets, and its impact as a heat map.

    Pointing at a word shows which words have most impact on it. The file holds its style, its script and all data,
    so that it opens without a network; it has no fonts, and names those that have Chinese on every system.

    Args:
        parses: to show, in order; only one at a time is in memory.
        path: the file to write or replace.
        title: at the head of the page.
        gold: colour arcs by the heads that the sentences came with.

    Raises:
        ValueError: there is no parse, or as ``Parse.svg``.

    Note:
        A sentence of ``n`` units takes about ``6 n²`` bytes.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from nlpkit.perturbed_masking.treebanks.sentences import Sentence
        >>> with TemporaryDirectory() as folder:
        ...     save_page([Parse(Sentence.of(["我", "来"]), [[0, 2], [1, 0]], [2, 0])], Path(folder, "page.html"))
        ...     "http" in Path(folder, "page.html").read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        False
    """
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(page_lines(parses, title, gold))


def page_lines(parses: Iterable[Parse], title: str, gold: bool = False) -> Iterator[str]:
    """The text of the page, piece by piece; the arguments are those of ``save_page``."""
    here = files(__package__ or "")
    style, script = ((here / name).read_text("utf-8") for name in ("page.css", "page.js"))
    yield (
        '<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape_text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape_text(title)}</h1><p>By perturbed masking; no parser was trained.</p></header>\n"
    )
    number = 0
    for number, parse in enumerate(parses, start=1):
        yield _article(parse, number, gold)
    if not number:
        raise ValueError("there is no parse to show; give sentences with words")
    yield f"<script>\n{script}</script>\n</body>\n</html>\n"


def _article(parse: Parse, number: int, gold: bool) -> str:
    words = parse.sentence.forms
    colours = gold and not isinstance(parse.tree, Tree)
    picture = "\n".join(
        line for line in parse.svg(gold=colours).splitlines() if not line.startswith(("<?xml", "<title>"))
    )
    parts = [f"<h2>{number}. {escape_text(parse.text())}</h2>", f"<figure>{picture}</figure>"]
    tree = parse.tree if isinstance(parse.tree, Tree) else phrases(parse.tree)
    brackets = []
    if tree is not None:
        written = escape_text(tree.brackets(words, parse.tags()))
        brackets = [f"<details open><summary>Brackets</summary><code>{written}</code></details>"]
    if parse.impact is None:
        return "\n".join(["<article>", *parts, *brackets, "</article>\n"])
    impact = [[float(f"{value:.3g}") for value in row] for row in as_impact(np.asarray(parse.impact)).tolist()]
    return "\n".join(
        [
            "<article>",
            *parts,
            f'<p class="says">{_HINT}</p>',
            *brackets,
            "<details open><summary>Impact: of the column's word on the prediction of the row's</summary>",
            "<figure><canvas></canvas></figure></details>",
            f'<script type="application/json">{json.dumps(impact, separators=(",", ":"))}</script>',
            "</article>\n",
        ]
    )
