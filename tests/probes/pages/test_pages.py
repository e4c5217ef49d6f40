"""A model's page: everything that was found is on it, in a terminal, in HTML and as a picture."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import PreTrainedModel

from nlpkit.probes import ModelProbe, normalisation_report, plot_positions, probe_model, probe_page, save_probe_page
from tests.probes.positions.small_models import small_model


@pytest.fixture(scope="module")
def probes() -> dict[str, ModelProbe]:
    return {name: probe_model(small_model(name), texts=16, show_progress=False) for name in ("bert", "t5", "llama")}


def text_of(probe: ModelProbe) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(probe_page(probe))
    return console.export_text()


def test_findings_are_those_of_the_single_probes(probes: dict[str, ModelProbe]) -> None:
    bert, t5, llama = probes.values()
    assert (bert.vocabulary, bert.dim, bert.room, t5.room) == (99, 32, 64, None)
    assert bert.recommended_dim == 39 and bert.positions.case("none").verdict == "yes"
    assert llama.dropout.silent and not bert.dropout.silent
    assert {use.kind for use in llama.normalisations} == {"LlamaRMSNorm"}


def test_a_terminal_shows_each_of_them(probes: dict[str, ModelProbe]) -> None:
    text = text_of(probes["t5"])
    for part in ("T5Model: ", "any length", "Positions", "encoder", "decoder", "Dropout", "Normalisation",
                 "T5LayerNorm", "Embeddings", "8.33 ln N"):  # fmt: skip
        assert part in text
    assert "No dropout is drawn: two passes are equal" in text_of(probes["llama"])
    assert re.search(r"In training it changes the output by \d+% of its size", text_of(probes["bert"]))
    assert max(map(len, text.splitlines())) <= 160


def test_a_batch_of_ones_own_is_looked_at_and_batch_norm_has_a_column() -> None:
    model = small_model("bert")
    other = {"input_ids": torch.full((2, 3), 7)}
    given = probe_model(model, batch=other, texts=16, show_progress=False)
    assert given.normalisations == normalisation_report(model, other)
    assert "half-life" not in text_of(given)
    model.get_submodule("encoder.layer.0.output").add_module("LayerNorm", Flat(nn.BatchNorm1d(32)))
    assert "half-life" in text_of(probe_model(model, texts=16, show_progress=False))


class Flat(nn.Module):
    """A batch norm over all tokens."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, states: Tensor) -> Tensor:
        found: Tensor = self.norm(states.flatten(0, 1)).view_as(states)
        return found


class Tags(HTMLParser):
    """Whether tags are closed in order, and the tables' cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "!doctype"):
            self.open.append(tag)
        self.cells += tag == "td"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_whole_html_with_a_picture_and_no_link(probes: dict[str, ModelProbe], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "page.html"
    save_probe_page(probes["bert"], path)
    html = path.read_text("utf-8")
    tags = Tags()
    tags.feed(html)
    assert not tags.open and tags.cells > 20
    assert "<svg" in html and "<?xml" not in html and "BertModel: " in html
    assert not re.search(r'(src|href)="http', html)


def test_models_are_drawn_side_by_side(probes: dict[str, ModelProbe], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "positions.svg"
    plot_positions({name: probe.positions for name, probe in probes.items()}, path)
    first = path.read_bytes()
    for part in ("bert", "t5, encoder", "t5, decoder", "first token differs", "chance"):
        assert part in first.decode()
    plot_positions({name: probe.positions for name, probe in probes.items()}, path)
    assert path.read_bytes() == first
    with pytest.raises(ValueError, match="no reports to draw"):
        plot_positions({}, path)
    with pytest.raises(ValueError, match=r"must end in one of .png, .svg, .pdf"):
        plot_positions({"bert": probes["bert"].positions}, tmp_path / "positions.txt")


def test_models_that_the_page_would_mislead_about_are_refused() -> None:
    model: PreTrainedModel = small_model("bert")
    with pytest.raises(ValueError, match="length=63 and two marks, but BertModel has room for 64 tokens"):
        probe_model(model, length=63, show_progress=False)
    assert isinstance(model, nn.Module) and not model.training
