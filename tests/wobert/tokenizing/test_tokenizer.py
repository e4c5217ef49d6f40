"""The fast-tokenizer contract: against transformers' own tokenizer where both must agree, and by its parts."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jieba
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer
from tests.wobert.strategies import texts

SENTENCES = [
    "酒店的服务态度很好，房间干净。",
    "今天天气不错！Hello worlders (3.14)",
    "",
    "我推荐[MASK]的朋友[SEP]",
    "Café ÜBER",
]


class WholeText:
    """Segments nothing, which turns the word tokenizer into BERT's."""

    name = "whole"

    def cut(self, text: str) -> list[str]:
        return [text]


@pytest.fixture(scope="module")
def tokenizer(small_vocabulary: dict[str, int]) -> WoBertTokenizer:
    return WoBertTokenizer(small_vocabulary)


@pytest.fixture(scope="module")
def twins(small_vocabulary: dict[str, int]) -> tuple[WoBertTokenizer, BertTokenizer]:
    """Ours without segmentation, and transformers' BERT tokenizer, over one vocabulary without Chinese words."""
    tokens = [token for token in small_vocabulary if token.isascii() or len(token) == 1]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return WoBertTokenizer(vocabulary, segmenter=WholeText()), BertTokenizer(vocab=vocabulary)


plain = st.text("今天气不错的我们，。！ abcdefgABC3.14hi", max_size=24)
options = st.fixed_dictionaries(
    {
        "add_special_tokens": st.booleans(),
        "padding": st.sampled_from([False, "longest", "max_length"]),
        "truncation": st.sampled_from([False, "longest_first", "only_first", "only_second"]),
        "max_length": st.integers(6, 14),
        "stride": st.integers(0, 2),
        "pad_to_multiple_of": st.sampled_from([None, 8]),
        "padding_side": st.sampled_from(["left", "right"]),
        "return_overflowing_tokens": st.booleans(),
    }
)
EVERYTHING = {"return_special_tokens_mask": True, "return_offsets_mapping": True, "return_length": True}


@given(batch=st.lists(st.tuples(plain, plain), min_size=1, max_size=4), pairs=st.booleans(), options=options)
@settings(max_examples=400)
def test_batches_equal_those_of_the_bert_tokenizer(
    twins: tuple[WoBertTokenizer, BertTokenizer], batch: list[tuple[str, str]], pairs: bool, options: dict[str, Any]
) -> None:
    firsts = [first for first, _ in batch]
    seconds = [second for _, second in batch] if pairs else None
    check_equal(twins, (firsts, seconds), options)


@given(
    batch=st.lists(st.lists(plain.filter(str.strip), min_size=1, max_size=5), min_size=1, max_size=3), options=options
)
@settings(max_examples=200)
def test_pre_split_batches_equal_those_of_the_bert_tokenizer(
    twins: tuple[WoBertTokenizer, BertTokenizer], batch: list[list[str]], options: dict[str, Any]
) -> None:
    check_equal(twins, (batch, None), {**options, "is_split_into_words": True})


def check_equal(
    twins: tuple[WoBertTokenizer, BertTokenizer], inputs: tuple[Any, Any], options: dict[str, Any]
) -> None:
    ours, theirs = twins
    try:
        expected = theirs(*inputs, **options, **EVERYTHING, verbose=False)
    except BaseException as error:  # the Rust side panics with an exception of its own
        expected_errors = ("Truncation error", "stride", "not a multiple of pad_to_multiple_of")
        assert any(part in str(error) for part in expected_errors) or type(error).__name__ == "PanicException"
        with pytest.raises(ValueError, match=r"truncation=|stride=|max_length=|pad_to_multiple_of"):
            ours(*inputs, **options, **EVERYTHING, verbose=False)
        return
    actual = ours(*inputs, **options, **EVERYTHING, verbose=False)
    assert dict(actual) == dict(expected)
    for row in range(len(expected["input_ids"])):
        assert actual.tokens(row) == expected.tokens(row)
        assert actual.sequence_ids(row) == expected.sequence_ids(row)
        assert actual[row].n_sequences == expected[row].n_sequences
        if options.get("is_split_into_words"):
            assert actual.word_ids(row) == expected.word_ids(row)


def test_look_ups_equal_those_of_the_bert_tokenizer(twins: tuple[WoBertTokenizer, BertTokenizer]) -> None:
    ours, theirs = (twin("今天 hello，不错", "我们 hi", return_offsets_mapping=True) for twin in twins)
    for token in range(len(theirs["input_ids"])):
        assert ours.token_to_chars(token) == theirs.token_to_chars(token)
        assert ours[0].token_to_sequence(token) == theirs[0].token_to_sequence(token)
    for sequence, length in ((0, 11), (1, 5)):
        for position in range(length):
            expected = theirs.char_to_token(position, sequence_index=sequence)
            assert ours.char_to_token(position, sequence_index=sequence) == expected


def test_a_word_is_a_segment(tokenizer: WoBertTokenizer) -> None:
    encoding = tokenizer("随时随地，酒店不错")
    assert encoding.tokens() == ["[CLS]", "随", "时", "随", "地", "，", "酒店", "不错", "[SEP]"]
    assert encoding.word_ids() == [None, 0, 0, 0, 0, 1, 2, 3, None]
    assert encoding.word_to_tokens(0) == (1, 5)
    assert encoding.word_to_chars(2) == (5, 7)
    assert encoding.char_to_word(6) == 2
    assert encoding.char_to_token(6) == 6
    assert encoding.word_to_tokens(9) is None


def test_hangul_is_read_letter_by_letter_as_the_reference_does(small_vocabulary: dict[str, int]) -> None:
    # jieba, which released WoBERTs were trained with, cuts each letter of the normalised syllable off: no ## piece.
    letters = unicodedata.normalize("NFD", "한국")
    assert [*jieba.cut(letters, HMM=False)] == list(letters)
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*small_vocabulary, *letters]))}
    assert WoBertTokenizer(vocabulary).tokenize("한국") == list(letters)


def test_offsets_point_into_the_original_text(tokenizer: WoBertTokenizer) -> None:
    text = "  Cafe\u0301，今天气 [MASK]！"
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    assert [text[start:end] for start, end in encoding["offset_mapping"]] == [
        "Cafe\u0301",
        "，",
        "今天",
        "气",
        "[MASK]",
        "！",
    ]


@given(text=texts)
@settings(max_examples=200)
def test_any_string_can_be_tokenized_and_decoded(tokenizer: WoBertTokenizer, text: str) -> None:
    encoding = tokenizer(text, return_offsets_mapping=True)
    assert encoding["input_ids"] == tokenizer.encode(text)
    assert isinstance(tokenizer.decode(encoding["input_ids"]), str)


def test_special_tokens_in_text_are_recognised_unless_split(tokenizer: WoBertTokenizer) -> None:
    assert tokenizer.tokenize("不错[MASK]好") == ["不错", "[MASK]", "好"]
    assert "[MASK]" not in tokenizer.tokenize("不错[MASK]好", split_special_tokens=True)
    assert "[MASK]" not in tokenizer.tokenize("不错[mask]好")


def test_added_tokens_are_found_saved_and_loaded(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    assert tokenizer.add_tokens(["新冠肺炎", "CaseLess"]) == 2
    assert tokenizer.add_special_tokens({"extra_special_tokens": ["<unused>"]}) == 1
    text = "今天caseless新冠肺炎<unused>好"
    expected = ["今天", "CaseLess", "新冠肺炎", "<unused>", "好"]
    assert tokenizer.tokenize(text) == expected
    tokenizer.save_pretrained(tmp_path)
    loaded = WoBertTokenizer.from_pretrained(tmp_path)
    assert loaded.tokenize(text) == expected
    assert len(loaded) == len(tokenizer) == len(small_vocabulary) + 3
    spans = loaded(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    assert [text[start:end] for start, end in spans] == ["今天", "caseless", "新冠肺炎", "<unused>", "好"]
    assert loaded(text).word_ids()[1:-1] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("added", ["<ent>", "北京大学"])
def test_added_tokens_without_brackets_are_found(small_vocabulary: dict[str, int], added: str) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    tokenizer.add_special_tokens({"extra_special_tokens": [added]})
    assert tokenizer.tokenize(f"今天{added}好") == ["今天", added, "好"]
    assert tokenizer([f"今天{added}好"])["input_ids"][0][2] == len(small_vocabulary)


def test_decode_gives_chinese_text_back(tokenizer: WoBertTokenizer) -> None:
    for text in ("酒店的服务态度很好，房间干净。", "今天天气不错！", "hello, world今天3.14好"):
        assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text
    batch = tokenizer(["不错！", "很好"])["input_ids"]
    assert tokenizer.decode(batch, skip_special_tokens=True) == ["不错！", "很好"]
    assert tokenizer.batch_decode(batch) == ["[CLS]不错！[SEP]", "[CLS]很好[SEP]"]


def test_ids_out_of_range_are_refused(tokenizer: WoBertTokenizer) -> None:
    with pytest.raises(ValueError, match=rf"token id {len(tokenizer)} is outside the vocabulary of {len(tokenizer)}"):
        tokenizer.decode([5, len(tokenizer)])


def test_tensors_padding_and_single_texts(tokenizer: WoBertTokenizer) -> None:
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    assert batch["input_ids"].shape == batch["attention_mask"].shape == batch["token_type_ids"].shape
    assert tokenizer("不错", return_tensors="np")["input_ids"].shape == (1, 3)
    assert tokenizer("不错")["input_ids"] == tokenizer(["不错"])["input_ids"][0]
    padded = tokenizer.pad([tokenizer("不错"), tokenizer("今天天气不错")], return_tensors="pt")
    assert padded["input_ids"].shape[0] == 2


def test_pickle_and_deepcopy_keep_everything(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    user_dict = tmp_path / "words.txt"
    user_dict.write_text("酒店的 100000\n", "utf-8")
    for tokenizer in (
        WoBertTokenizer(small_vocabulary),
        WoBertTokenizer(small_vocabulary, fallback="constrained"),
        WoBertTokenizer({**small_vocabulary, "酒店的": len(small_vocabulary)}, segmenter="jieba", user_dict=user_dict),
    ):
        expected = tokenizer(SENTENCES)["input_ids"]
        assert pickle.loads(pickle.dumps(tokenizer))(SENTENCES)["input_ids"] == expected
        assert copy.deepcopy(tokenizer)(SENTENCES)["input_ids"] == expected


def test_rows_survive_a_trip_to_another_process(tokenizer: WoBertTokenizer) -> None:
    batch = tokenizer(SENTENCES[:2], truncation=True, max_length=6, return_overflowing_tokens=True)
    loaded = pickle.loads(pickle.dumps(batch))
    for row in range(len(batch["input_ids"])):
        assert loaded.tokens(row) == batch.tokens(row)
        assert loaded.word_ids(row) == batch.word_ids(row)
        assert loaded[row].offsets == batch[row].offsets
    assert len(pickle.dumps(batch)) < 4000, "a row takes its answers along, not the tokenizer"


def test_the_dataset_fingerprint_is_stable(small_vocabulary: dict[str, int]) -> None:
    from datasets.fingerprint import Hasher

    tokenizer = WoBertTokenizer(small_vocabulary)
    before = Hasher.hash(tokenizer)
    tokenizer(SENTENCES, padding=True, truncation=True, max_length=8)
    assert Hasher.hash(tokenizer) == before == Hasher.hash(WoBertTokenizer(small_vocabulary))
    assert Hasher.hash(WoBertTokenizer(small_vocabulary, fallback="constrained")) != before


def test_mapping_with_two_processes_gives_the_same_ids(tokenizer: WoBertTokenizer) -> None:
    from datasets import Dataset

    dataset = Dataset.from_dict({"text": SENTENCES * 4})
    one = dataset.map(lambda rows: tokenizer(rows["text"]), batched=True)
    two = dataset.map(lambda rows: tokenizer(rows["text"]), batched=True, num_proc=2)
    assert list(one["input_ids"]) == list(two["input_ids"]) == tokenizer(SENTENCES * 4)["input_ids"]


def test_eight_threads_agree(small_vocabulary: dict[str, int]) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary, fallback="constrained")
    batches = [[f"{number}{sentence}" for sentence in SENTENCES] * 20 for number in range(32)]
    expected = [WoBertTokenizer(small_vocabulary, fallback="constrained")(batch)["input_ids"] for batch in batches]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda batch: tokenizer(batch)["input_ids"], batches))
    assert results == expected


def test_words_added_to_jieba_elsewhere_change_nothing(small_vocabulary: dict[str, int]) -> None:
    import jieba
    import rjieba

    for segmenter in ("rjieba", "jieba"):
        tokenizer = WoBertTokenizer(small_vocabulary, segmenter=segmenter)
        before = tokenizer.tokenize("天气不错")
        jieba.add_word("天气不错", freq=10**6)
        rjieba.add_word("天气不错", 10**6, None)
        assert tokenizer.tokenize("天气不错") == before == ["天气", "不错"]
        jieba.del_word("天气不错")


def test_saved_files_name_the_segmenter_and_load_in_another_process(
    small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    user_dict = tmp_path / "words.txt"
    user_dict.write_text("酒店服务 100000 n\n", "utf-8")
    tokenizer = WoBertTokenizer(small_vocabulary, segmenter="jieba", user_dict=user_dict, hmm=True)
    files = tokenizer.save_pretrained(tmp_path / "saved")
    assert sorted(Path(file).name for file in files) == ["tokenizer_config.json", "user_dict.txt", "vocab.txt"]
    saved = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text("utf-8"))["segmenter"]
    assert saved["name"] == "jieba" and saved["hmm"] and saved["version"] and saved["dictionary"].startswith("sha256:")
    script = (
        "import sys; from nlpkit import WoBertTokenizer;"
        "t = WoBertTokenizer.from_pretrained(sys.argv[1]); print(t('酒店服务很好')['input_ids'], t.segmenter.hmm)"
    )
    output = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "saved")], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == f"{tokenizer('酒店服务很好')['input_ids']} True"
    assert "another" not in output.stderr


def test_another_dictionary_on_loading_is_a_clear_warning(
    small_vocabulary: dict[str, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    WoBertTokenizer(small_vocabulary).save_pretrained(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    settings_ = json.loads(config.read_text("utf-8"))
    settings_["segmenter"].update(version="0.1.0", dictionary="sha256:0")
    config.write_text(json.dumps(settings_), "utf-8")
    with caplog.at_level("WARNING", logger="nlpkit"):
        WoBertTokenizer.from_pretrained(tmp_path)
    assert "saved with another rjieba (version 0.1.0 -> " in caplog.text
    assert "dictionary sha256:0 -> sha256:" in caplog.text


def test_a_segmenter_of_ones_own_must_be_passed_again(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    WoBertTokenizer(small_vocabulary, segmenter=WholeText()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="saved with a segmenter of its own, 'whole'; pass it again"):
        WoBertTokenizer.from_pretrained(tmp_path)
    loaded = WoBertTokenizer.from_pretrained(tmp_path, segmenter=WholeText())
    assert loaded.tokenize("不错") == ["不错"]


def test_a_program_without_nlpkit_gets_an_error_and_not_wrong_tokens(
    small_vocabulary: dict[str, int], tmp_path: Path
) -> None:
    WoBertTokenizer(small_vocabulary).save_pretrained(tmp_path)
    script = "import sys; from transformers import AutoTokenizer; print(AutoTokenizer.from_pretrained(sys.argv[1]))"
    output = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert output.returncode != 0


def test_a_plain_vocabulary_folder_loads(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    from nlpkit.wobert.words.vocabulary_file import write_vocabulary

    write_vocabulary(small_vocabulary, tmp_path / "vocab.txt")
    assert WoBertTokenizer.from_pretrained(tmp_path).tokenize("不错！") == ["不错", "！"]


def test_a_failed_save_leaves_the_old_files(
    small_vocabulary: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = WoBertTokenizer(small_vocabulary)
    tokenizer.save_pretrained(tmp_path / "saved")
    before = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    larger = WoBertTokenizer({**small_vocabulary, "新词": len(small_vocabulary)})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left on device"):
        larger.save_pretrained(tmp_path / "saved")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((b"\xe4\xb8\x8d",), r"row 0 must be a str, got bytes; decode it first"),
        ((["不错", None],), r"row 1 must be a str, got NoneType; replace missing texts with ''"),
        ((["不错", 3],), r"row 1 must be a str, got int"),
        ((["不错", float("nan")],), r"row 1 must be a str, got float; replace missing texts with ''"),
        ((["不错", []],), r"row 1 must be a str, got list of 0"),
        (([("不", "错"), ["不", None]],), r"row 1 must be a str, got NoneType"),
        (([("不", "错")], ["好"]), r"row 0 must be a str, got tuple of 2"),
        (
            ([["不", "错", "好"]],),
            r"row 0 must be a str, got list of 3; for lists of words pass is_split_into_words=True",
        ),
        (
            (pd.Series(["不错", pd.NA], dtype="string"),),
            r"row 1 must be a str, got NAType; replace missing texts with ''",
        ),
        ((pd.DataFrame({"a": ["不错"]}),), r"text is a DataFrame; give one of its columns"),
        ((["不错"], pd.DataFrame({"a": ["不错"]})), r"text_pair is a DataFrame; give one of its columns"),
        ((None,), r"You need to specify either `text`"),
    ],
)
def test_what_is_no_text_is_refused(tokenizer: WoBertTokenizer, inputs: tuple[Any, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        tokenizer(*inputs)


def test_pairs_of_unequal_number_are_refused(tokenizer: WoBertTokenizer) -> None:
    with pytest.raises(ValueError, match="text has 2 rows but text_pair has 1"):
        tokenizer(["不错", "好"], ["好"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocab": None}, r"no vocabulary in the arguments; give a folder with vocab.txt, or vocab=FILE"),
        ({"vocab": "/nowhere/vocab.txt"}, r"vocabulary file /nowhere/vocab.txt does not exist"),
        ({"vocab": {"[PAD]": 0, "[UNK]": 1}}, r"lacks \[CLS\], \[SEP\], \[MASK\]; add the special tokens"),
        ({"fallback": "no"}, r"fallback='no' is unknown; use 'faithful' or 'constrained'"),
        ({"segmenter": "pkuseg"}, r"segmenter='pkuseg' is unknown; use 'rjieba', 'jieba', or an object"),
        ({"segmenter": object()}, r"segmenter must have name and cut\(text\)"),
        ({"hmm": True}, r"hmm needs segmenter='jieba', not 'rjieba'"),
    ],
)
def test_wrong_arguments_are_refused(
    small_vocabulary: dict[str, int], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        WoBertTokenizer(**{"vocab": small_vocabulary, **arguments})


def test_training_a_word_vocabulary_is_refused(tokenizer: WoBertTokenizer) -> None:
    with pytest.raises(NotImplementedError, match=r"use nlpkit\.build_vocabulary"):
        tokenizer.train_new_from_iterator(["不错"], 100)


@pytest.mark.slow
def test_a_million_characters_take_linear_time(tokenizer: WoBertTokenizer) -> None:
    from time import process_time

    def seconds(length: int) -> float:
        text = ("今天天气不错，随时随地Café 3.14 " * (length // 24 + 1))[:length]
        begin = process_time()
        tokenizer(text, return_offsets_mapping=True, verbose=False)
        return process_time() - begin

    seconds(10_000)
    short, long = min(seconds(100_000) for _ in range(3)), seconds(1_000_000)
    assert long < 30 * short, "ten times the text, not a hundred times the work"


def test_the_collector_of_garbage_is_left_as_it_was(small_vocabulary: dict[str, int]) -> None:
    """Counting frozen objects walks through them: in a program that freezes some, each call took 50 ms and more."""
    script = (
        "import gc, json, sys; from nlpkit import WoBertTokenizer; counts = [];"
        "tokenizer = WoBertTokenizer(json.loads(sys.argv[1])); count = gc.get_freeze_count;"
        "gc.get_freeze_count = lambda: counts.append(count()) or counts[-1];"
        "tokenizer(['酒店服务很好'] * 9); unfrozen = count() == 0 and gc.isenabled();"
        "gc.freeze(); marked = count(); before = len(counts);"
        "answers = [tokenizer('酒店服务很好')['input_ids'] for _ in range(9)];"
        "gc.disable(); tokenizer('酒店'); print(unfrozen, count() > marked / 2, len(counts) - before, gc.isenabled())"
    )
    command = [sys.executable, "-c", script, json.dumps(small_vocabulary)]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "True True 1 False"
