"""The page for a browser: whole, self-contained, and safe against its own words."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nlpkit.perturbed_masking.pages.page import save_page
from nlpkit.perturbed_masking.parses import Parse
from nlpkit.perturbed_masking.treebanks.brackets import read_brackets
from nlpkit.perturbed_masking.treebanks.sentences import Sentence
from nlpkit.perturbed_masking.trees.constituents import right_branching

IMPACT = [[0.0, 2.0, 1.0], [1.0, 0.0, 1.23456], [0.5, 3.0, 0.0]]
WORDS = ["我", "</script><b>", "R&D"]


class Elements(HTMLParser):
    """The elements of a page, and what stands in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open, []).append(data)


def page_of(tmp_path: Path, *parses: Parse) -> str:
    save_page(parses, tmp_path / "page.html", title="<Parses>")
    return (tmp_path / "page.html").read_text("utf-8")


def test_a_sentence_has_a_tree_brackets_and_its_impact(tmp_path: Path) -> None:
    page = page_of(tmp_path, Parse(Sentence.of(WORDS), IMPACT, [2, 0, 2]))
    elements = Elements(page)
    names = [name for name, _ in elements.found]
    assert names.count("article") == names.count("svg") == names.count("canvas") == 1
    units = [attributes["data-unit"] for _, attributes in elements.found if "data-unit" in attributes]
    assert units == ["0", "1", "2"]
    data = next(text for text in elements.texts["script"] if text.startswith("["))
    assert json.loads(data) == [[0.0, 2.0, 1.0], [1.0, 0.0, 1.23], [0.5, 3.0, 0.0]]
    (sentence,) = read_brackets(["".join(elements.texts["code"])])
    assert list(sentence.words) == WORDS
    assert "<b>" not in page.replace("&lt;b&gt;", "")


def test_nothing_is_fetched(tmp_path: Path) -> None:
    page = page_of(tmp_path, Parse(Sentence.of(WORDS), IMPACT, [2, 0, 2]))
    elements = Elements(page)
    assert not {"link", "img", "iframe"} & {name for name, _ in elements.found}
    assert not any("src" in attributes or "href" in attributes for _, attributes in elements.found)
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+[^\s\"\']*", re.sub(r"^\s*//.*$", "", page, flags=re.M)))
    assert {address.split("  ")[0] for address in addresses} <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in page and "url(" not in page and "fetch(" not in page


def test_constituents_and_trees_without_impact(tmp_path: Path) -> None:
    parses = [
        Parse(Sentence.of(WORDS), IMPACT, right_branching(3)),
        Parse(Sentence.of(WORDS), None, right_branching(3)),
    ]
    page = page_of(tmp_path, *parses)
    assert page.count("<canvas>") == 1 and page.count("<code>") == 2


def test_an_interrupted_page_does_not_appear(tmp_path: Path) -> None:
    def parses() -> object:
        yield Parse(Sentence.of(WORDS), IMPACT, [2, 0, 2])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_page(parses(), tmp_path / "page.html")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_parses_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no parse to show"):
        save_page([], tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
