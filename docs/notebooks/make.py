"""Make the notebooks out of the tutorial, whose blocks they share, and run them.

make notebooks
"""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).parent
TUTORIAL = HERE.parent / "tutorial.md"

#: Blocks of the tutorial by notebook. What a block needs of earlier ones comes with it.
NOTEBOOKS = {
    "words_and_labels": ("tokens", "counts", "wordify", "zero_shot", "fit"),
    "trees_and_ladders": ("tokens", "wordify", "zero_shot", "fit", "trees", "settings", "ladder"),
    "entities_and_titles": ("tokens", "wordify", "settings", "entities", "title"),
}
BLOCK = re.compile(r"<!-- --8<-- \[start:(\w+)\] -->\n```python\n(.*?)```\n<!-- --8<-- \[end:\1\] -->", re.DOTALL)


class Block(NamedTuple):
    """Code of the tutorial, what stands above it, and what is said of its output before the next heading."""

    prose: str
    code: str
    said: str = ""


def blocks(page: str) -> dict[str, Block]:
    """The blocks of a page by name."""
    found: dict[str, Block] = {}
    after, last = page.index("## "), ""
    for match in BLOCK.finditer(page):
        code = "".join(example.source for example in doctest.DocTestParser().get_examples(match[2]))
        between = re.sub(r" ?\[[^]]+\]\(\w+\.md\),?", "", page[after : match.start()])
        said, heading, prose = between.partition("## ")
        if not heading:
            said, prose = "", said
        if said.strip():
            found[last] = found[last]._replace(said=said.strip())
        found[match[1]] = Block((heading + prose).strip(), code.strip())
        after, last = match.end(), match[1]
    return found


def notebook(names: tuple[str, ...], found: dict[str, Block]) -> nbformat.NotebookNode:
    """A notebook of these blocks."""
    cells = []
    for name in names:
        block = found[name]
        cells += [new_markdown_cell(block.prose, id=f"{name}-text"), new_code_cell(block.code, id=name)]
        if block.said:
            cells.append(new_markdown_cell(block.said, id=f"{name}-said"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def main() -> None:
    """Write all of them, then run each."""
    found = blocks(TUTORIAL.read_text("utf-8"))
    for name, names in NOTEBOOKS.items():
        made = notebook(names, found)
        nbformat.write(made, HERE / f"{name}.ipynb")
        NotebookClient(
            made, timeout=600, startup_timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}
        ).execute()
        print(f"{name}: {len(names)} blocks run", file=sys.stderr)


if __name__ == "__main__":
    main()
