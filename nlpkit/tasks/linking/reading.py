"""Files of texts with links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nlpkit.tasks.linking.knowledge.knowledge_base import KnowledgeBase
from nlpkit.tasks.linking.link import read_links
from nlpkit.text_files import read_records


def read_linked(path: str | Path, knowledge_base: KnowledgeBase | None = None) -> list[dict[str, Any]]:
    """Read a file of texts with links.

    Args:
        path: JSON lines of what ``read_links`` reads, plain, ``.gz`` or ``.xz``.
        knowledge_base: as for ``read_links``.

    Returns:
        Examples of ``text`` and ``links``.

    Raises:
        FileNotFoundError: no such file.
        TypeError: a field is of another kind; the message names file and line.
        ValueError: there is no text in it, a line is broken, or as of ``read_links``, likewise.
    """
    examples = []
    for number, record in read_records(path):
        try:
            examples.append({"text": record.get("text"), "links": read_links(record, knowledge_base)})
        except (TypeError, ValueError) as error:
            raise type(error)(f"{path}, line {number}: {error}") from error
    if not examples:
        raise ValueError(f"{path} holds no texts")
    return examples
