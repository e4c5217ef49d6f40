"""The recipes that measure and train sentence encoders, end to end on texts written for the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlpkit.runs import parse_recipe_arguments

pytest.importorskip("sentence_transformers", reason="needs the extra 'similarity'")

from recipes import sentence_encoders, similarity

CONFIGS = Path(similarity.__file__).parent / "configs"
THINGS = ["酒店", "手机", "天气", "苹果", "英语", "护照", "电影", "火车"]
SAID = ["很好", "不错", "真差", "太贵了"]
PAIRS = [
    (f"{thing}{one}", f"这个{thing}{other}", 4 if {one, other} == {"很好", "不错"} else int(one == other))
    for thing in THINGS
    for one in SAID
    for other in SAID
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{one}\t{other}\t{score}\n" for one, other, score in PAIRS), "utf-8")
    return path


@pytest.fixture
def sayings(tmp_path: Path) -> Path:
    path = tmp_path / "sayings.tsv"
    lines = [
        f"{thing}很好\t这个{thing}{said}\t{label}\n"
        for thing in THINGS
        for said, label in (("不错", "entailment"), ("真差", "contradiction"), ("太贵了", "neutral"))
    ]
    path.write_text("".join(lines), "utf-8")
    return path


@pytest.mark.parametrize("name", ["simcse", "entailment", "cosent"])
def test_shipped_settings_of_training_are_read(name: str) -> None:
    settings = CONFIGS / "sentence_encoders" / f"{name}.yaml"
    kinds = [sentence_encoders.EncoderArguments, sentence_encoders.EncoderTrainingArguments]
    read, _ = parse_recipe_arguments(kinds, [str(settings), "--train_files", "a", "--scored", "dev=b"])
    assert read.method == name and len(read.seeds) == 5
    assert settings.read_text("utf-8").startswith("# python recipes/sentence_encoders.py recipes/configs/")


def test_shipped_settings_of_measuring_are_read() -> None:
    path = CONFIGS / "similarity" / "zh.yaml"
    options = ["--models", "a", "--sets", "b=c"]
    (read,) = parse_recipe_arguments([similarity.SimilarityArguments], [str(path), *options])
    assert read.poolings == ["mean", "cls"] and path.read_text("utf-8").startswith("# python recipes/similarity.py")


@pytest.mark.slow
def test_encoders_are_measured_once(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--models", "wobert-mini-zh", "--sets", f"own={pairs}", "--dimensions", "4", "--max_length", "16"]
    options += ["--output_dir", str(tmp_path / "run")]
    result = similarity.main(options)["own wobert-mini-zh"]
    assert result["pairs"] == 128 and result["texts"] == 64
    for pooling in ("mean", "cls"):
        assert list(result[pooling]) == [
            *("cosine", "CSLS", "local scaling", "mutual proximity", "inverted softmax", "white, 4", "white, 4, CSLS")
        ]
        assert all(-1 <= way["spearman"] <= 1 for way in result[pooling].values())
        assert (tmp_path / "run" / f"occurrences-own-wobert-mini-zh-{pooling}.svg").is_file()
    table = (tmp_path / "run" / "table.md").read_text("utf-8")
    assert (
        "| wobert-mini-zh | mean | white, 4, CSLS | " in table and "| own | wobert-mini-zh | cls | cosine | " in table
    )

    def never(*_: object, **__: object) -> None:
        raise AssertionError("all is encoded")

    monkeypatch.setattr(similarity, "sentence_encoder", never)
    (tmp_path / "run" / "results" / "own-wobert-mini-zh.json").unlink()
    assert similarity.main(options)["own wobert-mini-zh"] == result
    with pytest.raises(ValueError, match=r"dimensions was \[4\] and is now \[5\]"):
        similarity.main([*options, "--dimensions", "5"])


@pytest.mark.slow
@pytest.mark.parametrize("method", sentence_encoders.METHODS)
def test_an_encoder_is_trained_and_scored_once(method: str, pairs: Path, sayings: Path, tmp_path: Path) -> None:
    options = {
        "method": method,
        "model": "wobert-mini-zh",
        "train_files": str(sayings if method == "entailment" else pairs),
        "scored": f"own={pairs}",
        "output_dir": str(tmp_path / "run"),
        "max_steps": "2",
        "save_steps": "1",
        "per_device_train_batch_size": "8",
        "learning_rate": "1e-3",
        "max_length": "16",
        "max_scored_pairs": "40",
    }
    given = [f"--{name}={value}" for name, value in options.items()]
    untrained, trained = sentence_encoders.main(given)
    assert (untrained["method"], trained["method"], trained["steps"]) == ("untrained", method, 2)
    assert trained["own"] != untrained["own"] and trained["trained_parameters"] > 0
    assert sentence_encoders.main(given) == [untrained, trained]
    (tmp_path / "run" / "seed-0" / "result.json").unlink()
    (tmp_path / "run" / "seed-0" / "model" / "training.json").unlink()  # as if killed after the last checkpoint
    again = sentence_encoders.main(given)[1]
    assert again["own"] == pytest.approx(trained["own"], abs=1e-6)
    assert {name: again[name] for name in ("steps", "train_loss", "train_seconds")} == {
        name: trained[name] for name in ("steps", "train_loss", "train_seconds")
    }
