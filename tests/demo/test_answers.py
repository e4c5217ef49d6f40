"""What the page answers, and what it says of wrong inputs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from nlpkit.cli.demo import refuse_taken_port
from nlpkit.demo.answers import DECODERS, LIMIT, WORDS, Answers, checked, read_words
from nlpkit.tasks.entities import EntityRecognizer


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers("wobert-mini-zh")


def test_words_and_characters_spell_the_text(answers: Answers) -> None:
    words, characters = answers.tokens("酒店有 wifi 吗")
    assert "".join(words).replace("##", "") == "".join(characters).replace("##", "") == "酒店有wifi吗"
    assert len(words) < len(characters)


@pytest.mark.parametrize("gap", ["__", "＿＿", "[MASK]"])
def test_each_gap_has_its_likeliest_words(answers: Answers, gap: str) -> None:
    first, second = answers.fillings(f"酒店的服务态度很{gap}，下次还会再{gap}。", top_k=5)
    assert "好" in first
    assert first != second
    for shares in (first, second):
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert 0 < sum(shares.values()) < 1


def test_labels_have_probabilities_and_so_have_their_words(answers: Answers) -> None:
    words = "good=满意，喜欢\nbad=失望"
    shares, rows = answers.label("房间又大又干净，前台热情。", "{text}总之，我很{mask}。", words)
    assert max(shares, key=lambda label: shares[label]) == "good"
    assert sum(shares.values()) == pytest.approx(1)
    assert [row[:2] for row in rows] == [("good", "满意"), ("good", "喜欢"), ("bad", "失望")]
    assert all(0 < share < 1 for _, _, share in rows)
    plain, same_rows = answers.label("房间又大又干净，前台热情。", "{text}总之，我很{mask}。", words, calibrated=False)
    assert plain != shares
    assert same_rows == rows, "calibration is of labels, not of words"


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_sentence_becomes_words_and_a_page(answers: Answers, decoder: str) -> None:
    words, page = answers.trees("老师给学生讲历史故事", decoder)
    assert "".join(words) == "老师给学生讲历史故事"
    assert "<svg" in page
    assert "https://" not in page


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda answers: answers.tokens("  "), "Write a text first"),
        (lambda answers: answers.tokens("天" * (LIMIT + 1)), f"has {LIMIT + 1} characters; the page takes {LIMIT}"),
        (lambda answers: answers.fillings("没有空"), r"Put \[MASK\] or __ where"),
        (lambda answers: answers.label("好", "{text}。", "a=好\nb=坏"), "mask"),
        (lambda answers: answers.label("好", "{text}很{mask}", "a=好"), "two labels or more"),
        (lambda answers: answers.trees("天 " * (WORDS + 1)), f"2 to {WORDS} words; this text has {WORDS + 1}"),
        (lambda answers: answers.trees("天"), "this text has 1"),
        (lambda answers: answers.entities("天"), "nlpkit demo --entities FOLDER"),
        (lambda answers: answers.title("天"), "nlpkit demo --titles FOLDER"),
    ],
)
def test_wrong_inputs_are_told_in_a_sentence(answers: Answers, ask, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        ask(answers)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("good 满意", "not of that form"),
        ("good=满意\ngood=好", "stands there twice"),
        ("good=\nbad=坏", "not of that form"),
    ],
)
def test_labels_that_cannot_be_read_are_told(lines: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_words(lines)


def test_a_text_of_just_the_limit_is_taken() -> None:
    assert len(checked("天" * LIMIT)) == LIMIT


def test_entities_stand_where_they_are_in_a_text_with_blanks_around(tmp_path: Path) -> None:
    torch.manual_seed(0)
    recognizer = EntityRecognizer.from_pretrained("wobert-mini-zh", types=["X"], head="softmax", units="characters")
    recognizer.model.save_pretrained(tmp_path)
    recognizer.tokenizer.save_pretrained(tmp_path)
    answers = Answers("wobert-mini-zh", entities=str(tmp_path))
    page = answers.entities("北京大学在北京")
    assert "<mark" in page, "a head that was drawn at random finds something"
    assert answers.entities("  北京大学在北京\n") == page


def test_what_a_program_leaves_out_is_asked_for(answers: Answers) -> None:
    for ask in (answers.tokens, answers.fillings, answers.trees):
        with pytest.raises(ValueError, match="Write a text first"):
            ask(None)
    with pytest.raises(ValueError, match="Give two labels or more"):
        answers.label("好", "{text}{mask}", None)
    with pytest.raises(ValueError, match="A tree is drawn by one of eisner, leaning_eisner, leaning_cky"):
        answers.trees("酒店很好", "read_conllu")


def test_a_port_that_is_taken_is_told_before_anything_is_loaded() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"no page can be served at 127.0.0.1, port {port} \(.+\); give another --port"
        ):
            refuse_taken_port("127.0.0.1", port)
    refuse_taken_port("127.0.0.1", port)
