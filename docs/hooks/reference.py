"""The reference: a page for each room, of the names that its stub makes public, so that nothing is listed twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


class Public(NamedTuple):
    """A public name: where it is imported from, and where it is written."""

    room: str
    name: str
    path: str


def public_names(root: Path) -> Iterator[Public]:
    """The names of all stubs below a package."""
    for stub in sorted(root.rglob("__init__.pyi")):
        room = ".".join(stub.parent.relative_to(root.parent).parts)
        for node in ast.parse(stub.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                above = room.split(".")[: len(room.split(".")) - node.level + 1] if node.level else []
                for alias in node.names:
                    yield Public(room, alias.asname or alias.name, ".".join([*above, node.module, alias.name]))


def rooms(names: Iterator[Public]) -> dict[str, list[Public]]:
    """Each room's names; what several rooms offer belongs to the deepest that it is written in."""
    homes: dict[str, Public] = {}
    for public in names:
        known = homes.get(public.path)
        if known is None or (public.path.startswith(public.room) and len(public.room) > len(known.room)):
            homes[public.path] = public
    found: dict[str, list[Public]] = {}
    for public in sorted(homes.values()):
        found.setdefault(public.room, []).append(public)
    return found


def page(room: str, names: list[Public]) -> str:
    """The page of a room."""
    blocks = [f"# `{room}`\n\n::: {room}\n    options:\n      members: false\n      show_root_heading: false"]
    return "\n\n".join(blocks + [f"::: {public.path}" for public in names])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and one that lists them."""
    root = Path(config.config_file_path).parent / "nlpkit"
    found = rooms(public_names(root))
    listed = ["# Reference\n", "Every public name, by room.\n"]
    for room, names in found.items():
        files.append(File.generated(config, f"reference/{room}.md", content=page(room, names)))
        links = ", ".join(f"[`{public.name}`][{public.path}]" for public in names)
        listed.append(f"**[{room}]({room}.md)**: {links}\n")
    files.append(File.generated(config, "reference/index.md", content="\n".join(listed)))
    return files
