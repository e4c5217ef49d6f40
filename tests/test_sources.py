"""Models and their files are found in folders, in the package (a checkout or a wheel), and in the Hub's cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
    pipeline,
)

import nlpkit
from nlpkit.pretrained import open_masked_lm, open_tokenizer
from nlpkit.sources import find_file, find_folder, find_model

ROOT = Path(nlpkit.__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NLPKIT_MODELS", raising=False)


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="no model is called 'nonsense'; there are: wobert-mini-zh"):
        nlpkit.model_path("nonsense")


def test_models_of_ones_own_have_names_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("my-encoder", "wobert-mini-zh"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "no-model").mkdir()
    monkeypatch.setenv("NLPKIT_MODELS", str(tmp_path))
    assert find_model("my-encoder") == str(nlpkit.model_path("my-encoder")) == str(tmp_path / "my-encoder")
    assert nlpkit.model_path("wobert-mini-zh").parent == ROOT / "models"  # what is shipped comes first
    with pytest.raises(
        FileNotFoundError, match="no model is called 'no-model'; there are: my-encoder, wobert-mini-zh"
    ):
        nlpkit.model_path("no-model")


def test_the_shipped_model_is_small_and_complete() -> None:
    folder = nlpkit.model_path("wobert-mini-zh")
    assert folder.is_absolute()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 32_000_000
    card = (folder / "README.md").read_text("utf-8")
    assert "MIT License" in card
    assert "Held-out results" in card


def test_the_shipped_model_fills_masks_through_a_pipeline() -> None:
    folder = nlpkit.model_path("wobert-mini-zh")
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype="float32")
    fill = pipeline("fill-mask", model=model, tokenizer=AutoTokenizer.from_pretrained(folder), top_k=20)
    words = [answer["token_str"] for answer in fill("酒店的服务态度很[MASK]。")]
    assert {"好", "差", "不错", "热情", "满意", "高"} & set(words), words


@pytest.fixture
def hub_cache(tmp_path: Path) -> Path:
    """What the Hub's client keeps of a repository ``someone/words`` with one file."""
    repository = tmp_path / "cache" / "models--someone--words"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    return tmp_path / "cache"


def test_files_are_found_in_a_folder_in_the_package_and_in_a_repository(tmp_path: Path, hub_cache: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    hub = {"cache_dir": hub_cache, "local_files_only": True, "dtype": "float32"}
    for source in (tmp_path / "model", str(tmp_path / "model"), "wobert-mini-zh", "someone/words"):
        found = find_file(source, "config.json", **hub)
        assert found is not None and found.name == "config.json" and found.is_file()
        assert find_file(source, "pet.json", **hub) is None
    assert find_model("someone/words", **hub) == "someone/words"
    assert find_model("wobert-mini-zh") == str(nlpkit.model_path("wobert-mini-zh"))


def test_all_files_of_a_model_lie_in_its_folder(tmp_path: Path, hub_cache: Path) -> None:
    (tmp_path / "model").mkdir()
    for source in (tmp_path / "model", "wobert-mini-zh"):
        assert find_folder(source) == Path(find_model(source))
    found = find_folder("someone/words", cache_dir=hub_cache, local_files_only=True)
    assert found == hub_cache / "models--someone--words" / "snapshots" / ("0" * 40)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "someone/else",
            r"'someone/else' is no folder here and none of the models by name \(wobert-mini-zh\), and the Hub "
            r"\(http\S+/someone/else\) does not give it: ",
        ),
        ("wobert-midi-zh", r"'wobert-midi-zh' is no folder here and none of the models by name"),
        ("./models/none", "there is no folder ./models/none"),
        ("/models/none", "there is no folder /models/none"),
        (Path("models/none"), "there is no folder models/none"),
        ("a/b/c", "there is no folder a/b/c"),
        ("~nobody-of-this-name/words", "there is no folder ~nobody-of-this-name/words"),
        ("here/words", "there is no folder here/words, and no repository .*, since here is a folder here"),
        ("here/words.txt", r"here/words\.txt is a file; give the folder of a model"),
        ("", "a name of models is empty; give a folder, wobert-mini-zh, or a repository"),
        (" ", "a name of models is empty"),
    ],
)
def test_what_is_nowhere_is_one_error(
    source: str | Path, message: str, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hub_cache.parent)
    Path("here").mkdir()
    Path("here", "words.txt").touch()
    for find in (find_model, find_folder, lambda *args, **hub: find_file(*args, "config.json", **hub)):
        with pytest.raises(FileNotFoundError, match=message):
            find(source, cache_dir=hub_cache, local_files_only=True)


@pytest.mark.parametrize("config", [BertConfig(), RobertaConfig(), XLMRobertaConfig()])
def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path, config: PreTrainedConfig) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"holds no tokenizer; save one there with tokenizer\.save_pretrained"):
        open_tokenizer(tmp_path)


def test_what_fills_no_masks_is_one_sentence(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"holds a GPT2LMHeadModel, which fills no masks; a masked .* is needed"
    ) as one:
        open_masked_lm(tmp_path, dtype="float32")
    assert "Unrecognized" not in str(one.value)
