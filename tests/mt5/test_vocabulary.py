"""A vocabulary of one's own: mT5's layout, texts that come back as they were, and sizes that texts cannot give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from nlpkit.mt5 import train_vocabulary
from nlpkit.sentencepiece_file import PieceType, read_sentencepiece
from tests.mt5.sentencepiece_files import TEXTS

SIZE = 425


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    train_vocabulary(TEXTS, SIZE, folder, character_coverage=0.99)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    found = AutoTokenizer.from_pretrained(folder)
    assert isinstance(found, PreTrainedTokenizerFast)
    return found


def test_ids_lie_as_those_of_mt5(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    assert len(tokenizer) == SIZE
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer.convert_ids_to_tokens([3, 258]) == ["<0x00>", "<0xFF>"]
    sentinels = [f"<extra_id_{number}>" for number in range(100)]
    assert tokenizer.convert_tokens_to_ids(sentinels) == list(range(SIZE - 1, SIZE - 101, -1))
    assert set(sentinels) < set(tokenizer.all_special_tokens)
    last = read_sentencepiece(folder / "spiece.model").pieces[-1]
    assert (last.piece, last.score, last.type) == ("▁<extra_id_0>", 0.0, PieceType.USER_DEFINED)


def test_texts_come_back_as_they_were(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    sentencepiece = SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    for text in (*TEXTS[:6], "𠮷野家（新店），①２３！“好”：12 000 元", "Ångström ﬁ"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert ids == [*sentencepiece.encode(text), 1]


def test_a_digit_is_a_piece(tokenizer: PreTrainedTokenizerFast) -> None:
    assert not any(len(piece.strip("▁")) > 1 for piece in tokenizer.get_vocab() if piece.strip("▁").isdigit())


def test_the_same_texts_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    train_vocabulary(TEXTS, SIZE, tmp_path / "again", character_coverage=0.99)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    assert {"spiece.model", "tokenizer.json", "tokenizer_config.json"} <= set(names)
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert json.loads((folder / "tokenizer_config.json").read_text("utf-8"))["tokenizer_class"] == "TokenizersBackend"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 5000}, r"size=5000 is more than 54 texts can give: at most \d+; give more texts, or a smaller size"),
        ({"size": 380}, r"size=380 leaves no room for all characters.*give at least \d+, or a smaller coverage"),
        ({"size": 359}, "size=359 leaves no room for pieces beside bytes and sentinels; give at least 360"),
        ({"texts": ["", " "]}, "there are no texts to make a vocabulary of"),
        ({"character_coverage": 1.5}, r"character_coverage must lie between 0\.98 and 1; got 1\.5"),
    ],
)
def test_what_texts_cannot_give_is_refused_and_leaves_nothing(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    settings: dict[str, object] = {"texts": TEXTS, "size": SIZE, "folder": tmp_path / "vocabulary"}
    with pytest.raises(ValueError, match=message):
        train_vocabulary(**(settings | changes))  # type: ignore[arg-type]
    assert not (tmp_path / "vocabulary").exists()


def test_the_largest_size_that_is_named_can_be_had(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most ") as caught:
        train_vocabulary(TEXTS, 5000, tmp_path)
    folder = tmp_path / "fewer"
    assert SIZE < len(train_vocabulary(TEXTS, 5000, folder, fewer=True)) < 5000
    assert len(AutoTokenizer.from_pretrained(folder)) == len(train_vocabulary(TEXTS, 5000, tmp_path / "x", fewer=True))
    most = int(str(caught.value).split("at most ")[1].split(";")[0])
    assert len(train_vocabulary(TEXTS, most, tmp_path)) == most
