"""The score of every span: as the model finds entities by it, and as it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nlpkit import WoBertConfig, WoBertTokenizer
from nlpkit.tasks.entities import (
    EntityConfig,
    EntityModel,
    EntityRecognizer,
    SpanMap,
    plot_span_map,
    span_map,
)

TEXT = "酒店 很好，ok"


def untrained(vocabulary: dict[str, int], head: str, units: str) -> EntityRecognizer:
    torch.manual_seed(0)
    tokenizer = WoBertTokenizer(vocabulary)
    encoder = WoBertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    special = sorted(tokenizer.all_special_ids)
    config: Any = {"encoder": encoder, "types": ["X", "Y"], "head": head, "units": units, "special_ids": special}
    return EntityRecognizer(EntityModel(EntityConfig(**config)).double().train(), tokenizer)


@pytest.mark.parametrize("units", ["characters", "tokens"])
@pytest.mark.parametrize("head", ["global_pointer", "efficient_global_pointer"])
def test_spans_above_0_are_those_that_are_found(small_vocabulary: dict[str, int], head: str, units: str) -> None:
    recognizer = untrained(small_vocabulary, head, units)
    found = span_map(recognizer, TEXT)
    scores = np.asarray(found.scores)
    assert recognizer.model.training and "".join(found.units) == TEXT.replace(" ", "")
    assert scores.shape == (2, len(found.units), len(found.units))
    above = {
        (sum(map(len, found.units[:first])), sum(map(len, found.units[: last + 1])), found.types[kind])
        for kind, first, last in zip(*np.nonzero(scores > 0), strict=True)
    }
    marks = [sum(not mark.isspace() for mark in TEXT[:place]) for place in range(len(TEXT) + 1)]
    entities = {(marks[one.start], marks[one.end], one.label) for one in recognizer.predict([TEXT])[0]}
    assert above == entities and 0 < len(above) < scores.size
    assert np.isneginf(scores[:, np.tril(np.ones(scores.shape[1:], dtype=bool), -1)]).all()


def test_what_has_no_scores_of_spans_is_refused(small_vocabulary: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"head='crf' scores labels, not spans; train one with head='global_pointer'"):
        span_map(untrained(small_vocabulary, "crf", "tokens"), TEXT)
    recognizer = untrained(small_vocabulary, "global_pointer", "tokens")
    with pytest.raises(ValueError, match=r"text ' ' is blank and has no span"):
        span_map(recognizer, " ")
    with pytest.raises(TypeError, match=r"text 0 is a int, 3; give strings"):
        span_map(recognizer, 3)  # type: ignore[arg-type]


def test_a_panel_for_each_type_and_a_box_for_each_entity(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra 'viz'")
    scores = np.full((4, 2, 2), -3.0)
    scores[:, 1, 0] = np.nan  # no span, so that nobody reads it
    plain = SpanMap(["天", "$"], ["A", "B", "C", "D$"], scores.copy())
    scores[1, 0, 1], scores[3, 1, 1] = 2.0, 1e-3
    with_two = plain._replace(scores=scores)
    drawn = {}
    for name, spans in (("plain", plain), ("two", with_two), ("again", with_two)):
        (tmp_path / name).mkdir()
        plot_span_map(spans, tmp_path / name / "spans.svg")
        drawn[name] = (tmp_path / name / "spans.svg").read_text("utf-8")
    assert drawn["two"] == drawn["again"]
    assert drawn["two"].count("stroke: #000000; stroke-width: 1.2") == 2 + drawn["plain"].count("stroke-width: 1.2")
    assert [drawn["two"].count(f">{text}<") for text in ("天", "$", "A", "D$")] == [8, 8, 1, 1]


def test_scores_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "spans.svg"
    with pytest.raises(ValueError, match=r"scores of shape \(1, 2, 2\) for 2 types and 2 units; give one for each"):
        plot_span_map(SpanMap(["a", "b"], ["A", "B"], np.zeros((1, 2, 2))), path)
    with pytest.raises(ValueError, match=r"scores hold NaN: the weights are broken"):
        plot_span_map(SpanMap(["a"], ["A"], [[[np.nan]]]), path)
    assert not path.exists()
