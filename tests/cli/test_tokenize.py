"""``nlpkit tokenize``, called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

Call = Callable[..., str]


def test_one_json_line_per_text_however_the_texts_come(call: Call, small_model: str, tmp_path: Path) -> None:
    texts = ["酒店很好。", "", "随时Café"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", "utf-8")
    output = call("tokenize", *texts, "--model", small_model)
    stdin = "\n".join(texts) + "\n"
    assert output == call("tokenize", "--file", str(tmp_path / "texts.txt"), "--model", small_model)
    assert output == call("tokenize", "--model", small_model, stdin=stdin)
    assert output == call("tokenize", "-", "--model", small_model, stdin=stdin)
    assert output == call("tokenize", "--file", "-", "--model", small_model, stdin=stdin)
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["pieces"] for row in rows] == [["酒店", "很", "好", "。"], [], ["随时", "cafe"]]
    assert [texts[2][start:end] for start, end in rows[2]["offsets"]] == ["随时", "Café"]
    assert rows[0]["ids"] == WoBertTokenizer.from_pretrained(small_model).convert_tokens_to_ids(rows[0]["pieces"])


def test_line_separators_inside_a_text_are_kept(call: Call, small_model: str) -> None:
    assert len(call("tokenize", "--model", small_model, stdin="很\u2028好\n好\n").strip().split("\n")) == 2


def test_a_vocabulary_and_a_fallback_instead_of_a_model(call: Call, small_model: str) -> None:
    options = ["tokenize", "随时随地", "--vocabulary", f"{small_model}/vocab.txt"]
    assert json.loads(call(*options))["pieces"] == ["随", "时", "随", "地"]
    assert json.loads(call(*options, "--fallback", "constrained"))["pieces"] == ["随时", "随地"]


def test_compare_shows_characters_and_words(call: Call, small_model: str) -> None:
    output = call("tokenize", "酒店服务不错", "--model", small_model, "--compare")
    assert "酒 店 服 务 不 错" in output
    assert "酒店 服务 不错" in output
    assert "6 character tokens, 3 word tokens: 0.50 of them" in output


def test_a_fallback_beside_a_model_is_refused(refuse: Call, small_model: str) -> None:
    error = refuse("tokenize", "好", "--model", small_model, "--fallback", "constrained")
    assert error.startswith("nlpkit: --fallback is for --vocabulary")
