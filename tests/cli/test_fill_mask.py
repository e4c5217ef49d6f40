"""``nlpkit fill-mask``, called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModel, AutoTokenizer

Call = Callable[..., str]


def test_every_gap_is_filled(call: Call, small_model: str) -> None:
    output = call("fill-mask", "酒店很[MASK]。", "[MASK]天[MASK]好", "--model", small_model, "--json", "-k", "3")
    one, two = (json.loads(line) for line in output.splitlines())
    assert [len(gap) for gap in one["fillings"]] == [3]
    assert [len(gap) for gap in two["fillings"]] == [3, 3]
    assert all(0 < probability < 1 for _, probability in one["fillings"][0])
    assert "%" in call("fill-mask", "酒店很[MASK]。", "--model", small_model)


@pytest.mark.parametrize("blank", ["", "  ", "\u3000"])
def test_blank_lines_keep_their_place(call: Call, small_model: str, blank: str) -> None:
    stdin = f"酒店很[MASK]。\n{blank}\n天[MASK]\n"
    rows = [json.loads(line) for line in call("fill-mask", "-m", small_model, "--json", stdin=stdin).splitlines()]
    assert [(row["text"], len(row["fillings"])) for row in rows] == [
        ("酒店很[MASK]。", 1),
        (blank, 0),
        ("天[MASK]", 1),
    ]
    lines = call("fill-mask", "-m", small_model, stdin=stdin).splitlines()
    assert [line.strip() for line in (lines[0], lines[2], lines[3])] == ["酒店很[MASK]。", "", "天[MASK]"]


def test_a_text_without_a_gap_is_named(refuse: Call, small_model: str) -> None:
    error = refuse("fill-mask", "酒店很好", "--model", small_model)
    assert error == "nlpkit: no [MASK] in '酒店很好'; put one where a word is to be found"


def test_a_text_too_long_for_the_model_is_named(refuse: Call, small_model: str) -> None:
    error = refuse("fill-mask", "好" * 600 + "[MASK]", "--model", small_model)
    assert error.endswith("好'... has 603 tokens, the model takes 512; shorten it")


def test_a_text_is_shown_as_it_is(call: Call, small_model: str) -> None:
    text = ":smile: [red]" + "酒店" * 60 + "[MASK]"
    assert call("fill-mask", text, "--model", small_model, "-k", "40").splitlines()[0] == text
    assert len(call("fill-mask", text, "--model", small_model, "-k", "40").splitlines()) == 2


def test_more_fillings_than_tokens_are_refused(refuse: Call, small_model: str) -> None:
    error = refuse("fill-mask", "酒店很[MASK]", "--model", small_model, "--top-k", "99999999")
    assert error.startswith("nlpkit: --top-k 99999999 is more than the ")


def test_a_model_without_a_trained_head_is_refused(refuse: Call, small_model: str, tmp_path: Path) -> None:
    AutoModel.from_pretrained(small_model).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(small_model).save_pretrained(tmp_path)
    assert "without a trained masked-LM head every filling is random" in refuse(
        "fill-mask", "-m", str(tmp_path), "[MASK]"
    )
