"""Pages link to files of the repository: pictures, tables, the card of a model. The site brings them along."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each file outside of the documentation that a page links to."""
    root = Path(config.docs_dir).parent
    for linked in {target for file in files.documentation_pages() for target in targets(file)}:
        if (root / linked).is_file():
            files.append(File.generated(config, linked, abs_src_path=str(root / linked)))
        else:
            raise FileNotFoundError(f"a page links to {linked}, which is not a file of the repository")
    return files


def targets(file: File) -> list[str]:
    """What a page links to outside of its folder."""
    return LINK.findall(file.content_string) if posixpath.dirname(file.src_uri) == "" else []


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """In the site they stand beside the pages."""
    return LINK.sub(r"\1", markdown)
