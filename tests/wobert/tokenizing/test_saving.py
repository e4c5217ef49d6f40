"""Saved tokenizers: the files that were written, the folder's own files read, damage named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, BertTokenizer

from nlpkit import WoBertTokenizer


@pytest.fixture
def saved(small_vocabulary: dict[str, int], tmp_path: Path) -> Path:
    WoBertTokenizer(small_vocabulary).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def change(folder: Path, **settings: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")


def test_saving_names_the_files_it_wrote_and_no_others(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    from nlpkit.files import whole_folder

    (tmp_path / "model.safetensors").write_bytes(b"")
    tokenizer = WoBertTokenizer(small_vocabulary)
    names = ["tokenizer_config.json", "vocab.txt"]
    assert tokenizer.save_pretrained(tmp_path) == tuple(str(tmp_path / name) for name in names)
    with whole_folder(tmp_path / "other") as draft:
        (draft / "config.json").write_text("{}")
        assert tokenizer.save_pretrained(draft) == tuple(str(draft / name) for name in names)


def test_a_prefix_stands_before_every_file(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("酒店服务 100000\n", "utf-8")
    tokenizer = WoBertTokenizer(small_vocabulary, segmenter="jieba", user_dict=words)
    files = tokenizer.save_pretrained(tmp_path / "saved", filename_prefix="my")
    names = ["my-tokenizer_config.json", "my-user_dict.txt", "my-vocab.txt"]
    assert [Path(file).name for file in files] == names
    for name in names:
        (tmp_path / "saved" / name).rename(tmp_path / "saved" / name.removeprefix("my-"))
    loaded = WoBertTokenizer.from_pretrained(tmp_path / "saved")
    assert loaded("酒店服务很好")["input_ids"] == tokenizer("酒店服务很好")["input_ids"]


@pytest.mark.parametrize(("prefix", "name"), [(None, "vocab.txt"), ("my", "my-vocab.txt")])
def test_the_vocabulary_is_saved_alone(
    small_vocabulary: dict[str, int], tmp_path: Path, prefix: str | None, name: str
) -> None:
    assert WoBertTokenizer(small_vocabulary).save_vocabulary(tmp_path, prefix) == (str(tmp_path / name),)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert WoBertTokenizer(tmp_path / name).get_vocab() == small_vocabulary


@pytest.mark.parametrize(
    "key",
    ["vocab", "vocab_file", "tokenizer_file", "user_dict", "merges", "merges_file", "tokenizer_object", "gguf_file"],
)
@pytest.mark.parametrize("load", [WoBertTokenizer, AutoTokenizer])
def test_settings_that_name_other_files_change_nothing(saved: Path, tmp_path: Path, key: str, load: Any) -> None:
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n今\n天\n", "utf-8")
    expected = WoBertTokenizer.from_pretrained(saved)("今天天气不错")["input_ids"]
    change(saved, **{key: str(elsewhere)})
    assert load.from_pretrained(saved)("今天天气不错")["input_ids"] == expected


def test_positional_arguments_in_the_settings_change_nothing(saved: Path, tmp_path: Path) -> None:
    expected = WoBertTokenizer.from_pretrained(saved).get_vocab()
    change(saved, init_inputs=[str(tmp_path / "elsewhere.txt")])
    assert WoBertTokenizer.from_pretrained(saved).get_vocab() == expected


def test_a_vocabulary_given_by_the_caller_is_taken(saved: Path) -> None:
    own = {token: number for number, token in enumerate("[PAD] [UNK] [CLS] [SEP] [MASK] 今 天".split())}
    assert WoBertTokenizer.from_pretrained(saved, vocab=own).get_vocab() == own


@pytest.mark.parametrize("content", ["", "{", '{"fallback": "faith', "[]", "null", '"x"', "\ufffe\ud800"])
def test_a_damaged_settings_file_is_named(saved: Path, content: str) -> None:
    path = saved / "tokenizer_config.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=str(path)):
        WoBertTokenizer.from_pretrained(saved)


@pytest.mark.parametrize(
    "segmenter",
    [None, [], {}, 3, {"name": 3}, {"name": None}, {"name": "jieba", "hmm": "yes"}, {"name": "mine"}, "mine",
     {"name": "jieba", "user_words": "0" * 64}],
)  # fmt: skip
def test_broken_segmenter_settings_name_their_file(saved: Path, segmenter: Any) -> None:
    change(saved, segmenter=segmenter)
    with pytest.raises(ValueError, match=str(saved / "tokenizer_config.json")):
        WoBertTokenizer.from_pretrained(saved)


@pytest.mark.parametrize(
    "settings",
    [{"fallback": "no"}, {"model_max_length": "x"}, {"model_max_length": -1}, {"do_lower_case": "no"},
     {"added_tokens_decoder": {"0": "x"}}, {"added_tokens_decoder": {"x": {"content": "a"}}},
     {"added_tokens_decoder": []}, {"added_tokens_decoder": {"0": {"contents": "x"}}}, {"unk_token": "[NONE]"}],
)  # fmt: skip
def test_broken_settings_name_a_file(saved: Path, settings: dict[str, Any]) -> None:
    change(saved, **settings)
    with pytest.raises(ValueError, match=str(saved)):
        WoBertTokenizer.from_pretrained(saved)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.99])
def test_a_vocabulary_that_was_cut_off_is_named(saved: Path, share: float) -> None:
    path = saved / "vocab.txt"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=str(path)):
        WoBertTokenizer.from_pretrained(saved)


def test_a_vocabulary_that_was_lengthened_by_hand_is_taken(saved: Path) -> None:
    with (saved / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("新词\n")
    assert "新词" in WoBertTokenizer.from_pretrained(saved).get_vocab()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"model": {}}'])
@pytest.mark.parametrize("load", [WoBertTokenizer, AutoTokenizer])
def test_a_damaged_vocabulary_file_of_another_tokenizer_is_named(
    small_vocabulary: dict[str, int], tmp_path: Path, load: Any, content: str
) -> None:
    BertTokenizer(vocab=small_vocabulary).save_pretrained(tmp_path)
    change(tmp_path, tokenizer_class="WoBertTokenizer")
    assert load.from_pretrained(tmp_path).get_vocab() == small_vocabulary
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=str(tmp_path / "tokenizer.json")):
        load.from_pretrained(tmp_path)


@pytest.mark.parametrize("load", [WoBertTokenizer, AutoTokenizer])
def test_what_another_tokenizer_left_in_the_folder_changes_nothing(
    small_vocabulary: dict[str, int], tmp_path: Path, load: Any
) -> None:
    words, out = tmp_path / "words.txt", tmp_path / "out"
    words.write_text("天气不错 100000\n", "utf-8")
    other = {token: number for number, token in enumerate("[PAD] [UNK] [CLS] [SEP] [MASK] 天气不错 今 天".split())}
    BertTokenizer(vocab=other).save_pretrained(out)
    WoBertTokenizer(other, segmenter="jieba", user_dict=words).save_pretrained(out)
    (out / "notes.txt").write_text("mine")
    tokenizer = WoBertTokenizer(small_vocabulary)
    tokenizer.save_pretrained(out)
    assert {path.name for path in out.iterdir()} == {"notes.txt", "tokenizer_config.json", "vocab.txt"}
    assert load.from_pretrained(out)("今天天气不错")["input_ids"] == tokenizer("今天天气不错")["input_ids"]
    BertTokenizer(vocab=other).save_pretrained(tmp_path / "bert")
    (out / "tokenizer.json").write_bytes((tmp_path / "bert" / "tokenizer.json").read_bytes())
    assert load.from_pretrained(out).get_vocab() == small_vocabulary


def test_what_goes_to_the_hub_is_what_is_saved(
    small_vocabulary: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import hub

    sent: dict[str, Any] = {}

    class Hub:  # stands for huggingface.co, which tests do not reach
        def create_repo(self, repo_id: str, **_: Any) -> Any:
            return type("Repository", (), {"repo_id": f"me/{repo_id}"})

    def upload(self: Any, folder: str, repo_id: str, *_: Any, **__: Any) -> None:
        sent[repo_id] = {path.name: path.read_bytes() for path in Path(folder).iterdir()}

    monkeypatch.setattr("transformers.tokenization_utils_base.hf_api", Hub)
    monkeypatch.setattr(hub.PushToHubMixin, "_upload_modified_files", upload)
    WoBertTokenizer(small_vocabulary).save_pretrained(tmp_path / "words", push_to_hub=True)
    assert sent == {"me/words": {path.name: path.read_bytes() for path in (tmp_path / "words").iterdir()}}
