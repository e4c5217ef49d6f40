"""Files of pairs: read, split into parts, encoded, and refused with a line number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from nlpkit.data import PairCorpus, read_pairs


def characters(text: str = "天气很好不今明我们去公园：标题0123456789") -> PreTrainedTokenizerFast:
    words = ["<pad>", "</s>", "<unk>", *dict.fromkeys(text)]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def write(folder: Path, count: int = 40, name: str = "titles.jsonl") -> Path:
    pairs = [{"source": f"今天天气很好{number:03}", "target": f"天气{number:03}"} for number in range(count)]
    path = folder / name
    path.write_text("".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs), "utf-8")
    return path


def corpus(files: list[Path], **changes: object) -> PairCorpus:
    settings = {"source_length": 12, "target_length": 8, "run_lines": 4, "held_out_every": 5} | changes
    return PairCorpus(files, characters(), **settings)  # type: ignore[arg-type]


def decoded(found: PairCorpus, row: dict[str, list[int]]) -> tuple[str, str]:
    return tuple("".join(found.tokenizer.convert_ids_to_tokens(row[name])) for name in ("input_ids", "labels"))


def test_parts_share_out_the_pairs_by_runs(tmp_path: Path) -> None:
    found = corpus([write(tmp_path)], prefixes={"titles": "标题："}, source_length=20)
    parts = {part: list(found.dataset(part, cache_dir=str(tmp_path / "cache"))) for part in (True, False)}
    for held_out, rows in parts.items():
        numbers = [number for number in range(40) if (number // 4 % 5 == 0) == held_out]
        expected = [(f"标题：今天天气很好{number:03}</s>", f"天气{number:03}</s>") for number in numbers]
        assert [decoded(found, row) for row in rows] == expected
        assert {row["domain"] for row in rows} == {0}


def test_sources_are_cut_and_pairs_with_long_targets_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [
        {"source": "天" * 30, "target": "气"},
        {"source": "好", "target": "好" * 8},
        {"source": "好", "target": "好" * 7},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines * 4), "utf-8")
    found = corpus([path], run_lines=3, held_out_every=2)
    rows = [decoded(found, row) for row in found.rows(path, held_out=True)]
    assert rows == [("天" * 11 + "</s>", "气</s>"), ("好</s>", "好" * 7 + "</s>")] * 2


def test_rows_are_known_again_whatever_the_tokenizer_did_and_others_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path)
    found = corpus([path])
    before = found.fingerprint(False)
    list(found.rows(path, held_out=False))
    assert found.fingerprint(False) == before == corpus([path]).fingerprint(False)
    others = [corpus([path], prefixes={"titles": "好"}), corpus([path], target_length=9), corpus([path], run_lines=5)]
    assert len({before, found.fingerprint(True), *(other.fingerprint(False) for other in others)}) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"source": "好", "target": "好"}\n{"source": "好"}\n',
            r"a\.jsonl, line 2 has no text 'target'; it has source",
        ),
        ('{"source": "好", "target": " "}\n', r"a\.jsonl holds no pairs of a source and a target"),
        (
            '{"source": "好", "target": "好好好好好好好好好"}\n' * 9,
            r"domain 'a' yields no held-out pairs whose target has up to 8",
        ),
    ],
)
def test_files_that_cannot_be_learnt_from_are_errors(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=message):
        corpus([tmp_path / "a.jsonl"]).dataset(held_out=True, cache_dir=str(tmp_path / "cache"))


def test_lengths_without_room_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source_length=1 and target_length=8 must be at least 2"):
        corpus([], source_length=1)


def test_a_table_is_read_by_its_columns_and_blank_rows_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("题\t文章\n\n 　\t文章\n", "utf-8")
    assert read_pairs(tmp_path / "t.tsv", ["target", "source"]) == [{"source": "文章", "target": "题"}]
