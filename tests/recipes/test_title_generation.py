"""Title generation, end to end on sentences of its own."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertForMaskedLM, BertTokenizer

from nlpkit import UniLmForSequenceToSequence, WoBertConfig, WoBertForMaskedLM, WoBertTokenizer, generate_texts
from nlpkit.data import read_pairs
from nlpkit.runs import parse_recipe_arguments
from recipes import title_generation
from recipes.title_generation import TitleArguments, TitleTrainingArguments, main, read_parts
from tests.recipes.copies import help_of_a_copy

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PLACES, THINGS, JUDGEMENTS = ["北京", "上海", "天津"], ["酒店", "天气", "服务"], ["很好", "不错", "干净"]
TITLES = [
    (f"我们在{place}，{thing}{what}。", f"{place}{thing}")
    for place, thing, what in product(PLACES, THINGS, JUDGEMENTS)
]


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("titles")
    characters = sorted(set("".join(source + target for source, target in TITLES)))
    tokens = [*SPECIALS, *PLACES, *THINGS, *JUDGEMENTS, "我们", *characters]
    WoBertTokenizer({token: number for number, token in enumerate(tokens)}).save_pretrained(folder / "model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = WoBertConfig(vocab_size=len(tokens), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)
    WoBertForMaskedLM(config).save_pretrained(folder / "model")
    lines = [f"{target}\t{source}\n" for source, target in TITLES]
    (folder / "train.tsv").write_text("".join(lines * 2 + lines[::4]), "utf-8")
    (folder / "test.tsv").write_text("".join(lines[1::4]), "utf-8")
    settings: dict[str, Any] = {
        "model": folder / "model",
        "train_file": folder / "train.tsv",
        "test_file": folder / "test.tsv",
        "dev_rows": len(lines[::4]),
        "max_source_length": 24,
        "max_target_length": 8,
        "learning_rate": 5e-3,
        "num_train_epochs": 8,
        "per_device_train_batch_size": 8,
        "disable_tqdm": True,
    }
    return [*(f"--{name}={value}" for name, value in settings.items()), "--columns", "target", "source"]


@pytest.mark.slow
def test_words_and_characters_learn_titles_and_stand_in_one_table(common: list[str], tmp_path: Path) -> None:
    results = main(
        [
            *common,
            "--num_train_epochs=40",
            f"--output_dir={tmp_path}",
            "--tokenizer",
            "word",
            "character",
            "--seeds",
            "0",
            "1",
        ]
    )
    assert [(run["arm"], run["seed"]) for run in results["runs"]] == [
        (kind, seed) for kind in ("word", "character") for seed in (0, 1)
    ]
    assert results["word"]["bleu x1"]["mean"] > 0.9
    assert results["word"]["rouge-l x3"]["mean"] > 0.9
    by_word, by_character = results["runs"][0], results["runs"][2]
    assert by_word["tokens_per_source"] < by_character["tokens_per_source"] == 2 + len(TITLES[0][0])
    written = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(results))
    table = (tmp_path / "table.md").read_text("utf-8")
    assert "rouge-l x1" in table and "bleu x3" in table and "beside character" in table
    for kind in ("word", "character"):
        folder = tmp_path / f"{kind}-0"
        model, tokenizer = (auto.from_pretrained(folder / "model") for auto in (AutoModelForCausalLM, AutoTokenizer))
        assert type(model) is UniLmForSequenceToSequence
        assert type(tokenizer) is (WoBertTokenizer if kind == "word" else BertTokenizer)
        rows = [json.loads(line) for line in (folder / "test-3-beams.jsonl").read_text("utf-8").splitlines()]
        again = generate_texts(model, tokenizer, [row["source"] for row in rows], max_new_tokens=8, num_beams=3)
        assert again == [row["generated"] for row in rows]


@pytest.mark.slow
def test_an_interrupted_run_ends_as_the_whole_one(
    common: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*common, "--num_train_epochs=4", "--seeds", "3", "4"]
    expected = main([*options, f"--output_dir={tmp_path / 'whole'}"])
    batches, collate = 0, title_generation.UniLmCollator.__call__

    def interrupt(self: Any, examples: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 18:
            raise KeyboardInterrupt
        return collate(self, examples)

    monkeypatch.setattr(title_generation.UniLmCollator, "__call__", interrupt)
    cut = [*options, f"--output_dir={tmp_path / 'cut'}"]
    with pytest.raises(KeyboardInterrupt):
        main(cut)
    assert list((tmp_path / "cut" / "word-3").glob("checkpoint-*"))
    assert not (tmp_path / "cut" / "results.json").exists()
    assert main(cut)["runs"] == expected["runs"]
    first, second = (
        UniLmForSequenceToSequence.from_pretrained(tmp_path / name / "word-3" / "model").state_dict()
        for name in ("whole", "cut")
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.slow
def test_finished_runs_are_kept_and_other_settings_refused(common: list[str], tmp_path: Path) -> None:
    options = [*common, f"--output_dir={tmp_path}", "--num_train_epochs=1"]
    main(options)
    before = (tmp_path / "word-0" / "result.json").stat().st_mtime_ns
    both = main([*options, "--tokenizer", "word", "character"])
    assert (tmp_path / "word-0" / "result.json").stat().st_mtime_ns == before and len(both["runs"]) == 2
    with pytest.raises(ValueError, match="made with other settings: learning_rate was"):
        main([*options, "--learning_rate=1e-3"])


def test_the_rows_that_choose_are_not_trained_on(common: list[str]) -> None:
    settings, _ = parse_recipe_arguments([TitleArguments, TitleTrainingArguments], common)
    parts = read_parts(settings)
    assert {name: len(part) for name, part in parts.items()} == {"train": 54, "dev": 7, "test": 7}
    assert parts["train"][0] == {"source": TITLES[0][0], "target": TITLES[0][1]}
    settings.dev_rows = 61
    with pytest.raises(ValueError, match="dev_rows=61 of 61 rows leave none to train on"):
        read_parts(settings)


def test_bad_files_and_settings_are_named(common: list[str], tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text("只有一列\n", "utf-8")
    with pytest.raises(ValueError, match=r"one\.tsv, line 1 has no text 'source'; it has target: say which are"):
        read_pairs(str(tmp_path / "one.tsv"), ["target", "source"])
    (tmp_path / "own.jsonl").write_text('{"文": "很长的文章", "题": "题目"}\n', "utf-8")
    with pytest.raises(ValueError, match=r"own\.jsonl, line 1 has no text 'source'; it has 文, 题: say which are"):
        read_pairs(tmp_path / "own.jsonl", ["文", "题"])
    (tmp_path / "own.csv").write_text("题,文\n题目,很长的文章\n", "utf-8")
    for name in ("own.jsonl", "own.csv"):
        assert read_pairs(tmp_path / name, source="文", target="题") == [{"source": "很长的文章", "target": "题目"}]
    (tmp_path / "none.jsonl").write_text('{"source": " ", "target": "好"}\n', "utf-8")
    with pytest.raises(ValueError, match=r"none\.jsonl holds no pairs"):
        read_pairs(str(tmp_path / "none.jsonl"), [])
    with pytest.raises(ValueError, match="tokenizer=wrod is unknown; give word, character, or both"):
        main([*common, f"--output_dir={tmp_path / 'out'}", "--tokenizer", "wrod"])


def test_a_model_without_words_reads_characters(tmp_path: Path) -> None:
    tokens = {token: number for number, token in enumerate([*SPECIALS, "天", "气"])}
    BertTokenizer(tokens).save_pretrained(tmp_path)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(vocab_size=7, **sizes)).save_pretrained(tmp_path)
    assert title_generation.open_tokenizer("character", str(tmp_path)).tokenize("天气") == ["天", "气"]
    with pytest.raises(ValueError, match="holds a BertTokenizer, which knows no words; give tokenizer=character"):
        title_generation.open_tokenizer("word", str(tmp_path))


@pytest.mark.parametrize("name", ["csl", "lcsts"])
def test_shipped_settings_are_read(name: str) -> None:
    path = Path(title_generation.__file__).parent / "configs" / "title_generation" / f"{name}.yaml"
    settings, args = parse_recipe_arguments([TitleArguments, TitleTrainingArguments], [str(path)])
    assert settings.tokenizer == ["word", "character"] and args.output_dir == f"runs/title_generation/{name}"


@pytest.mark.shared
@pytest.mark.parametrize(("name", "rows"), [("csl", (1600, 199, 200)), ("lcsts", (8666, 200, 1000))])
def test_public_sets_are_read(
    name: str, rows: tuple[int, int, int], shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLPKIT_DATA", str(shared_data))
    path = Path(title_generation.__file__).parent / "configs" / "title_generation" / f"{name}.yaml"
    settings, _ = parse_recipe_arguments([TitleArguments, TitleTrainingArguments], [str(path)])
    parts = read_parts(settings)
    assert tuple(len(parts[part]) for part in ("train", "dev", "test")) == rows
    lengths = [(len(pair["source"]), len(pair["target"])) for pair in parts["dev"]]
    assert sum(source > target for source, target in lengths) > 0.95 * len(lengths)


def test_a_copy_tells_its_settings(tmp_path: Path) -> None:
    assert "--max_target_length" in help_of_a_copy("title_generation.py", tmp_path)
