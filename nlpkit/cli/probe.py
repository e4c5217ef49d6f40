"""``nlpkit probe``: what a model can and cannot do, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlpkit.cli.inputs import InspectedModel
from nlpkit.pretrained import open_config
from nlpkit.sources import find_model


def probe(
    model: InspectedModel = "wobert-mini-zh",
    length: Annotated[int, typer.Option(help="Tokens of the texts that positions are looked for in.")] = 16,
    texts: Annotated[
        int, typer.Option(help="How many of these; fewer are faster, and the linear probe is worse.")
    ] = 256,
    html: Annotated[Path | None, typer.Option(help="Write a page for a browser, with pictures, to this file.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the picture of positions to this file: .svg, .png or .pdf.")
    ] = None,
) -> None:
    """Whether a model can count, what dropout and normalisation do in training, and how its embeddings spread."""
    from rich.console import Console
    from transformers import MODEL_MAPPING, AutoModel

    from nlpkit.compat import quiet_loading
    from nlpkit.pictures import check_picture
    from nlpkit.probes import plot_positions, probe_model, probe_page, save_probe_page

    for drawn in (out, html and html.with_suffix(".svg")):  # a page has its pictures in it
        if drawn is not None:
            check_picture(drawn)
    place = find_model(model)
    config = open_config(place)
    if type(config) not in MODEL_MAPPING:
        raise ValueError(
            f"{model} holds a {config.model_type}, which has no base model; give the one it was made from"
        )
    with quiet_loading():  # of heads, which are not looked at
        loaded = AutoModel.from_pretrained(place, dtype="float32")
    found = probe_model(loaded, length=length, texts=texts)
    Console().print(probe_page(found))
    if html is not None:
        save_probe_page(found, html)
    if out is not None:
        plot_positions({found.model: found.positions}, out)
