"""``nlpkit demo``: a page for a browser that shows what the models do."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from nlpkit.cli.inputs import Model
from nlpkit.extras import install_hint


def demo(
    model: Model = "wobert-mini-zh",
    entities: Annotated[
        str | None, typer.Option(help="A model of entities, as nlpkit recipe entities trains.", show_default=False)
    ] = None,
    titles: Annotated[
        str | None,
        typer.Option(help="A model of titles, as nlpkit recipe title_generation trains.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes one that is free.")] = 7860,
    host: Annotated[str, typer.Option(help="Who may see the page: by default nobody but this machine.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")] = True,
) -> None:
    """Serve a page with the models at work: words, gaps, labels, trees, entities, titles. Ctrl-C ends it."""
    if find_spec("gradio") is None:
        raise ModuleNotFoundError(f"the page needs gradio; {install_hint('demo')}", name="gradio")
    from nlpkit.demo.answers import Answers
    from nlpkit.demo.page import build, theme

    answers = Answers(model, entities, titles)
    page = build(answers)
    _, address, _ = page.launch(
        server_name=host,
        server_port=port or None,
        inbrowser=browser,
        theme=theme(),
        quiet=True,
        prevent_thread_lock=True,
    )
    typer.echo(f"The page is at {address} until you press Ctrl-C.")
    answers.load()
    page.block_thread()
