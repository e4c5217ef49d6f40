from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    pipeline,
)

import nlpkit
from nlpkit import WoBertConfig, WoBertForMaskedLM, WoBertTokenizer, auto

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.fixture(scope="module")
def wobert(tmp_path_factory: pytest.TempPathFactory, small_vocabulary: dict[str, int]) -> Path:
    """A folder with a WoBERT model and its tokenizer."""
    folder = tmp_path_factory.mktemp("word-model")
    WoBertForMaskedLM(WoBertConfig(vocab_size=len(small_vocabulary), **SMALL)).save_pretrained(folder)
    WoBertTokenizer(small_vocabulary).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory, small_vocabulary: dict[str, int]) -> Path:
    """A folder with a plain BERT model and its tokenizer."""
    folder = tmp_path_factory.mktemp("character-model")
    BertForMaskedLM(BertConfig(vocab_size=len(small_vocabulary), **SMALL)).save_pretrained(folder)
    BertTokenizer(vocab=small_vocabulary).save_pretrained(folder)
    return folder


def run_python(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_auto_class_finds_wobert(wobert: Path) -> None:
    assert type(AutoConfig.from_pretrained(wobert)) is WoBertConfig
    assert type(AutoTokenizer.from_pretrained(wobert)) is WoBertTokenizer
    for auto_class, name in (
        (AutoModel, "WoBertModel"),
        (AutoModelForMaskedLM, "WoBertForMaskedLM"),
        (AutoModelForSequenceClassification, "WoBertForSequenceClassification"),
        (AutoModelForTokenClassification, "WoBertForTokenClassification"),
    ):
        assert type(auto_class.from_pretrained(wobert)) is getattr(nlpkit, name)


def test_a_folder_with_nothing_but_a_vocabulary_and_a_config_gets_the_word_tokenizer(
    wobert: Path, tmp_path: Path
) -> None:
    shutil.copy(wobert / "vocab.txt", tmp_path)
    shutil.copy(wobert / "config.json", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert type(tokenizer) is WoBertTokenizer
    assert tokenizer.tokenize("今天天气不错") == WoBertTokenizer.from_pretrained(wobert).tokenize("今天天气不错")


def test_the_fill_mask_pipeline_works_without_complaint(wobert: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill = pipeline("fill-mask", model=str(wobert), top_k=3)
    answers = fill("酒店的服务态度很[MASK]。")
    assert len(answers) == 3
    assert all(answer["token_str"] for answer in answers)
    assert "not supported" not in caplog.text


def test_the_model_card_of_a_trainer_knows_the_task(wobert: Path) -> None:
    from transformers import modelcard

    assert "WoBertForMaskedLM" in modelcard.TASK_MAPPING["fill-mask"].values()


def test_plain_bert_folders_are_untouched(bert: Path, tmp_path: Path) -> None:
    assert type(AutoConfig.from_pretrained(bert)) is BertConfig
    assert type(AutoTokenizer.from_pretrained(bert)) is BertTokenizer
    assert type(AutoModelForMaskedLM.from_pretrained(bert)) is BertForMaskedLM
    shutil.copy(bert / "config.json", tmp_path)
    shutil.copy(bert / "tokenizer.json", tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is BertTokenizer  # no tokenizer_config.json names a class


def test_a_bert_folder_that_names_our_tokenizer_gets_it(wobert: Path, bert: Path, tmp_path: Path) -> None:
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(wobert / name, tmp_path)
    shutil.copy(bert / "config.json", tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bert"
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is WoBertTokenizer
    assert type(AutoConfig.from_pretrained(tmp_path)) is BertConfig


def test_registering_again_changes_nothing(wobert: Path) -> None:
    finders = list(sys.meta_path)
    auto.register(nlpkit.__getattr__)
    assert sys.meta_path == finders
    assert type(AutoTokenizer.from_pretrained(wobert)) is WoBertTokenizer


def test_a_model_type_of_the_same_name_in_transformers_is_reported() -> None:
    with pytest.raises(RuntimeError, match=r"model type 'wobert' of its own \(OtherConfig\).*upgrade nlpkit"):
        auto._register_config(SimpleNamespace(CONFIG_MAPPING_NAMES={"wobert": "OtherConfig"}))  # type: ignore[arg-type]


ALL_CLASSES = """
import sys
from transformers import AutoConfig, AutoTokenizer, AutoModel, AutoModelForMaskedLM
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, pipeline
folder, bert = sys.argv[1:]
print(type(AutoTokenizer.from_pretrained(bert)).__name__, type(AutoModelForMaskedLM.from_pretrained(bert)).__name__)
{late}
for auto in (AutoConfig, AutoTokenizer, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification,
             AutoModelForTokenClassification):
    print(type(auto.from_pretrained(folder)).__name__)
print(len(pipeline("fill-mask", model=folder, top_k=2)("今天天气[MASK]")))
"""


@pytest.mark.parametrize("order", ["nlpkit first", "transformers first"])
def test_the_order_of_imports_does_not_matter(order: str, wobert: Path, bert: Path) -> None:
    early = order == "nlpkit first"
    code = "import nlpkit\n" * early + ALL_CLASSES.format(late="import nlpkit" * (not early))
    assert run_python("-c", code, wobert, bert).split() == [
        "BertTokenizer",
        "BertForMaskedLM",
        "WoBertConfig",
        "WoBertTokenizer",
        "WoBertModel",
        "WoBertForMaskedLM",
        "WoBertForSequenceClassification",
        "WoBertForTokenClassification",
        "2",
    ]


def test_the_tokenizer_alone_loads_no_modelling_code(wobert: Path) -> None:
    code = """
import sys, nlpkit
from transformers import AutoTokenizer
print([name for name in sys.modules if name.startswith("nlpkit.wobert")])
print(type(AutoTokenizer.from_pretrained(sys.argv[1])).__name__)
print([name for name in sys.modules if "modeling_bert" in name or name == "nlpkit.wobert.modeling"])
"""
    assert run_python("-c", code, wobert).split("\n") == ["[]", "WoBertTokenizer", "[]", ""]


@pytest.mark.slow
def test_threads_that_import_at_once_all_find_wobert(wobert: Path) -> None:
    # The first import of transformers itself fails in threads, with or without us: it comes before.
    code = """
import sys, threading, transformers
start = threading.Barrier(8)
found = []

def load(number):
    start.wait()
    if number % 2:
        import nlpkit
    from transformers import AutoTokenizer
    import nlpkit
    found.append(type(AutoTokenizer.from_pretrained(sys.argv[1])).__name__)

threads = [threading.Thread(target=load, args=[number]) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*found)
"""
    assert run_python("-c", code, wobert).split() == ["WoBertTokenizer"] * 8


SPAWN = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import nlpkit

def load(folder, tokenizer):
    from transformers import AutoTokenizer
    again = AutoTokenizer.from_pretrained(folder)
    return type(again).__name__, again.tokenize("今天天气不错") == tokenizer.tokenize("今天天气不错")

if __name__ == "__main__":
    tokenizer = nlpkit.WoBertTokenizer.from_pretrained(sys.argv[1])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        print(*pool.submit(load, sys.argv[1], tokenizer).result())
"""


@pytest.mark.slow
def test_spawned_children_find_wobert(wobert: Path, tmp_path: Path) -> None:
    script = tmp_path / "spawn.py"
    script.write_text(SPAWN, "utf-8")
    assert run_python(script, wobert) == "WoBertTokenizer True\n"
