"""The demonstration, run as `make demo` runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import MT5Config

from nlpkit.mt5 import new_mt5, train_vocabulary
from recipes import demo
from tests.mt5.sentencepiece_files import TEXTS


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What it prints in another folder than the checkout, as a copy."""
    folder = tmp_path_factory.mktemp("elsewhere")
    copy = folder / "my_demo.py"
    copy.write_text(Path(str(demo.__file__)).read_text("utf-8"), "utf-8")
    found = subprocess.run([sys.executable, copy.name], cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    return found.stdout.splitlines()


def test_it_says_what_it_does_before_the_first_wait(lines: list[str]) -> None:
    assert lines[0].startswith("Loading PyTorch, transformers and the shipped model")


def test_every_part_has_a_title_and_every_text_a_translation(lines: list[str]) -> None:
    titles = [line.strip() for line in lines if line.strip()[:2] in ("1.", "2.", "3.", "4.")]
    assert titles == [
        "1. One token per word",
        "2. What stands in the gap?",
        "3. Sentiment without training",
        "4. Words and trees from masking twice",
    ]
    printed = "\n".join(lines)
    translations = [*demo.SENTENCES.values(), *demo.GAPS.values(), *demo.UNCUT.values()]
    for translation in [*translations, *(english for _, _, english in demo.REVIEWS)]:
        assert translation in printed


def test_reviews_are_sorted_right(lines: list[str]) -> None:
    assert "12 of 12 right; nothing here was trained on reviews with labels." in lines


def test_the_tree_stands_below_its_sentence_and_has_a_content_word_for_its_root(lines: list[str]) -> None:
    start = next(number for number, line in enumerate(lines) if line.startswith("A tree over "))
    assert "".join(demo.PARSED) in lines[start]
    tree = lines[start + 1 :][: len(demo.PARSED)]
    assert [word in line for word, line in zip(demo.PARSED, tree, strict=True)] == [True] * len(demo.PARSED)
    (root,) = [line for line in tree if "●" in line]
    assert any(meaning in root for meaning in ("teacher", "pupils", "tells", "history", "stories"))


def test_titles_come_from_the_small_mt5_or_the_demonstration_says_how_to_make_it(lines: list[str]) -> None:
    printed = "\n".join(lines)
    if (Path(demo.__file__).parent.parent / "models" / demo.TITLE_MODEL).is_dir():
        assert all(translation[:40] in printed for translation in demo.REPORTS.values())
    else:
        assert "5. A title for a report: left out, since there is no models/t5-mini-zh yet." in printed
        assert "python recipes/mt5_pretrain.py recipes/configs/mt5_pretrain/mini_zh.yaml" in printed


def test_each_report_gets_a_title(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = train_vocabulary(TEXTS, 425, tmp_path, character_coverage=0.99)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    new_mt5(MT5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, **sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    demo.show_titles(str(tmp_path))
    printed = capsys.readouterr().out
    assert "5. A title for a report" in printed
    assert all(translation[:40] in printed for translation in demo.REPORTS.values())
