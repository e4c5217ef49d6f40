"""The table of counts that ``nlpkit segment`` takes words from: how often characters meet in a corpus.

Source: mutual information and branching entropy of characters; ``nlpkit.perturbed_masking.CountedLinks``.

    python recipes/character_counts.py recipes/configs/character_counts/zh.yaml

Writes ``counts.safetensors``, all counts, and the folder ``links`` with the small table and its card, which
``nlpkit segment --counts`` and ``CountedLinks.from_pretrained`` take. Called again after an interruption, it goes on
where it was; called with another ``min_count``, it makes another table without counting again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from nlpkit.data import domain_of, find_text_files
from nlpkit.files import write_text
from nlpkit.perturbed_masking import CorpusCounts, CountedLinks, count_corpus
from nlpkit.runs import parse_recipe_arguments, run_recipe
from nlpkit.text_files import read_lines


@dataclass
class CountingArguments:
    """What to count, and what of it to keep."""

    files: list[str] = field(metadata={"help": "globs of .txt, .gz or .xz files, one paragraph per line"})
    output_dir: str = "runs/character_counts"
    memory: int = field(default=1 << 30, metadata={"help": "bytes for the counts"})
    processes: int = field(default=1, metadata={"help": "that count at a time"})
    min_count: int = field(default=10, metadata={"help": "leave rarer pairs out of the table"})
    language: str = field(default="zh", metadata={"help": "of the card"})
    texts: str = field(default="", metadata={"help": "for the card: what the corpus is, and under which terms"})


def main(argv: list[str]) -> CountedLinks:
    """Run the recipe and return the table."""
    (settings,) = parse_recipe_arguments([CountingArguments], argv)
    output = Path(settings.output_dir)
    files = find_text_files(settings.files)
    counts = count_corpus(
        chain.from_iterable(map(read_lines, files)), output, memory=settings.memory, processes=settings.processes
    )
    names = [domain_of(path) for path in files]
    facts = {"files": names, "language": settings.language}
    links = CountedLinks.from_counts(counts, min_count=settings.min_count, facts=facts)
    links.save_pretrained(output / "links")
    write_text(output / "links" / "README.md", card(settings, names, counts, links))
    return links


def card(settings: CountingArguments, files: list[str], counts: CorpusCounts, links: CountedLinks) -> str:
    """The card of a table."""
    held = {length: len(one) for length, one in counts.by_length.items()}
    floors = [one.floor for one in counts.by_length.values()]
    exact = (
        "All counts were exact before that."
        if not any(floors)
        else f"Memory was limited: of characters, pairs and triples, any of up to {floors} occurrences may have been "
        "left out, and the counts of others are too small by no more than that."
    )
    return (
        f"""---
language: {settings.language}
library_name: nlpkit
tags:
- word-segmentation
---

# Counted links

How often characters meet in a corpus, and how freely their neighbours vary: what `nlpkit segment` cuts texts by.
No labels, no dictionary and no model were used. Made by nlpkit's `recipes/character_counts.py`.

```python
from nlpkit.perturbed_masking import CountedLinks, segment

segment(CountedLinks.from_pretrained("path/to/this/folder"), ["今天天气不错，我们去公园散步。"])
```

| fact | value |
| --- | --- |
| parts of the corpus | {", ".join(files)} |
| characters counted | {counts.characters:,} |
| different characters, pairs, triples | {held[1]:,}, {held[2]:,}, {held[3]:,} |
| pairs in the table | {len(links.table.pairs):,}, those of at least {settings.min_count} occurrences |

Kept are, of each character, its count and the entropies of its neighbours, and the same of each pair, rounded to 255
levels of their range (counts: of their logarithm). {exact} No text can be read back from it.

{settings.texts}
""".rstrip()
        + "\n"
    )


if __name__ == "__main__":
    run_recipe(main)
