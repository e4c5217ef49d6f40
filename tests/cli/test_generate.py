"""``nlpkit generate``, called as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from nlpkit import UniLmForSequenceToSequence, generate_texts
from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer

Call = Callable[..., str]
TEXTS = ["酒店的服务态度很好", "", "好", "房间干净，我们满意"]


@pytest.fixture(scope="session")
def writer(small_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a UniLM with random weights."""
    folder = tmp_path_factory.mktemp("writer")
    UniLmForSequenceToSequence.from_pretrained(small_model).save_pretrained(folder)
    WoBertTokenizer.from_pretrained(small_model).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def expected(writer: str) -> list[str]:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(writer), AutoTokenizer.from_pretrained(writer)
    return generate_texts(model, tokenizer, TEXTS, max_new_tokens=4, num_beams=2)


def options(writer: str) -> list[str]:
    return ["generate", "--model", writer, "--beams", "2", "--max-new-tokens", "4", "--batch-size", "2"]


def test_texts_come_as_arguments_lines_and_standard_input(
    call: Call, writer: str, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n", "utf-8")
    answer = "".join(f"{text}\n" for text in expected)
    assert answer.strip() and call(*options(writer), *TEXTS) == answer
    assert call(*options(writer), "--file", str(tmp_path / "texts.txt")) == answer
    assert call(*options(writer), "-", stdin="\n".join(TEXTS)) == answer


def test_json_lines_come_back_as_they_were_with_what_is_written(
    call: Call, writer: str, expected: list[str], tmp_path: Path
) -> None:
    records = [{"id": number, "content": text} for number, text in enumerate(TEXTS)]
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (tmp_path / "texts.jsonl").write_text(lines, "utf-8")
    wanted = [{**record, "generated": text} for record, text in zip(records, expected, strict=True)]
    for found in (
        call(*options(writer), "--text", "content", "--file", str(tmp_path / "texts.jsonl")),
        call(*options(writer), "--text", "content", stdin=lines),
    ):
        assert [json.loads(line) for line in found.splitlines()] == wanted


def test_a_blank_line_of_json_lines_keeps_its_place(call: Call, writer: str, tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text('{"source": "好"}\n\n{"source": "酒店"}\n', "utf-8")
    found = call(*options(writer), "--file", str(tmp_path / "texts.jsonl")).splitlines()
    assert [sorted(json.loads(line)) for line in found] == [
        ["generated", "source"],
        ["generated"],
        ["generated", "source"],
    ]


def test_plain_texts_become_json_on_request(call: Call, writer: str, expected: list[str]) -> None:
    found = [json.loads(line) for line in call(*options(writer), "--json", *TEXTS).splitlines()]
    assert found == [{"source": text, "generated": new} for text, new in zip(TEXTS, expected, strict=True)]


def test_a_text_in_braces_is_a_text(call: Call, writer: str) -> None:
    assert "generated" not in call(*options(writer), '{"other": "好"}', "{好}")


def test_bad_input_is_one_line(refuse: Call, writer: str, small_model: str, tmp_path: Path) -> None:
    assert "give --model: no model that writes is shipped" in refuse("generate", "好")
    error = refuse("generate", "好", "--model", small_model)
    assert "holds a wobert, which does not write a text for another: give a UniLM" in error
    assert "--overlong cut is unknown" in refuse(*options(writer), "好", "--overlong", "cut")
    error = refuse(*options(writer), "好" * 600)
    assert "has 602 tokens, max_source_length is 508" in error
    assert "drop its end with --overlong 'truncate'" in error
    (tmp_path / "texts.jsonl").write_text('{"content": "好"}\n', "utf-8")
    error = refuse(*options(writer), "--file", str(tmp_path / "texts.jsonl"))
    assert error.endswith("line 1 has no column 'source'; name it by --text, of 'content'")


def test_sources_are_cut_on_request(call: Call, writer: str) -> None:
    assert call(*options(writer), "好" * 600, "--overlong", "truncate").count("\n") == 1
