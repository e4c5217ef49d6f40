"""``nlpkit demo``: a page for a browser that shows what the models do."""

from __future__ import annotations

import socket
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
    if port:
        refuse_taken_port(host, port)
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


def refuse_taken_port(host: str, port: int) -> None:
    """See that a page can be served, in words of this command.

    Raises:
        OSError: another program is served there, or the host is none of this machine.
    """
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just been left will do
            door.bind(place)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"no page can be served at {host}, port {port} ({reason}); give another --port") from error
