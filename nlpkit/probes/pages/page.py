"""What was found of a model, on one page for a browser or a terminal."""

from __future__ import annotations

from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Group
from rich.table import Table
from rich.text import Text

from nlpkit.files import write_text
from nlpkit.probes.pages.model_probe import ModelProbe
from nlpkit.probes.pages.picture import plot_positions
from nlpkit.probes.pages.sections import Section, facts, sections

_STYLE = """:root { color-scheme: light; }
body { margin: 0 auto; padding: 1.5rem; max-width: 62rem; color: #2e3440; background: #fff;
  font: 16px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.3rem; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .2rem; }
p { margin: .2rem 0 .6rem; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; }
th { border-bottom: 2px solid #e5e7eb; }
td { border-bottom: 1px solid #e5e7eb; }
svg { max-width: 100%; height: auto; }
"""


def probe_page(probe: ModelProbe) -> Group:
    """Draw what was found as tables for a terminal.

    Args:
        probe: by ``probe_model``.

    Returns:
        For ``rich.print``.
    """
    return Group(Text(facts(probe), style="bold"), *(part for one in sections(probe) for part in _drawn(one)))


def save_probe_page(probe: ModelProbe, path: str | Path) -> None:
    """Write one HTML file with the tables and a picture; it holds its style and needs no network.

    Args:
        probe: by ``probe_model``.
        path: the file to write or replace.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (the extra ``viz``).
    """
    with TemporaryDirectory() as folder:
        drawn = Path(folder, "positions.svg")
        plot_positions({probe.model: probe.positions}, drawn)
        svg = drawn.read_text("utf-8")
    title = escape(facts(probe))
    body = "".join(_html(one) for one in sections(probe))
    write_text(
        path,
        '<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"{body}<h2>Positions by marks and by layer</h2>\n{svg[svg.index('<svg') :]}</body>\n</html>\n",
    )


def _drawn(section: Section) -> tuple[Text, Text, Table]:
    table = Table(*section.columns)
    for row in section.rows:
        table.add_row(*map(Text, row))  # Text, since names may have brackets
    return Text(f"\n{section.title}", style="bold"), Text(section.says), table


def _html(section: Section) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in section.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(one)}</td>" for one in row) + "</tr>\n" for row in section.rows)
    return (
        f"<h2>{escape(section.title)}</h2>\n<p>{escape(section.says)}</p>\n<table>\n<tr>{head}</tr>\n{rows}</table>\n"
    )
