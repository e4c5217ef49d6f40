from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from nlpkit import UniLmCollator, WoBertTokenizer
from nlpkit.seq2seq import PairEncoding

TEXTS = st.text(alphabet="今天气不错酒店服务的我们好hello[SEP]", max_size=12)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_rows_are_source_and_target_and_labels_are_of_the_target(pairs: list[tuple[str, str]]) -> None:
    tokenizer = WoBertTokenizer({token: number for number, token in enumerate(VOCABULARY)})
    batch = UniLmCollator(tokenizer)([{"source": source, "target": target} for source, target in pairs])
    for number, (source, target) in enumerate(pairs):
        plain = {"add_special_tokens": False, "split_special_tokens": True}
        read = [2, *tokenizer(source, **plain)["input_ids"], 3]
        written = [*tokenizer(target, **plain)["input_ids"], 3]
        padding = batch["input_ids"].shape[1] - len(read) - len(written)
        assert batch["input_ids"][number].tolist() == read + written + [0] * padding
        assert batch["attention_mask"][number].tolist() == [1] * len(read + written) + [0] * padding
        assert batch["token_type_ids"][number].tolist() == [0] * len(read) + [1] * len(written) + [0] * padding
        assert batch["labels"][number].tolist() == [-100] * len(read) + written + [-100] * padding
        assert (batch["input_ids"][number] == 3).sum() == 2  # brackets in a text are text


VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] 今天 天气 不错 酒店 服务 的 我们 好 hello [ ] sep s e p h l o".split()


def test_without_targets_it_makes_prompts_padded_on_the_left(tokenizer: WoBertTokenizer) -> None:
    batch = UniLmCollator(tokenizer)([{"source": "酒店服务"}, {"source": "好"}])
    assert "labels" not in batch
    words = {name: tokenizer.convert_tokens_to_ids(name) for name in ("酒店", "服务", "好")}
    assert batch["input_ids"].tolist() == [[2, words["酒店"], words["服务"], 3], [0, 2, words["好"], 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 1, 1, 1]]


def test_columns_have_the_names_that_it_is_given(tokenizer: WoBertTokenizer) -> None:
    collator = UniLmCollator(tokenizer, source="content", target="title", pad_to_multiple_of=8)
    batch = collator([{"content": "酒店服务", "title": "服务"}])
    assert batch["input_ids"].shape == (1, 8)
    plain = UniLmCollator(tokenizer)([{"source": "酒店服务", "target": "服务"}])
    assert torch.equal(batch["labels"][:, :6], plain["labels"])


def test_it_reads_characters_with_berts_tokenizer(small_vocabulary: dict[str, int]) -> None:
    batch = UniLmCollator(BertTokenizer(small_vocabulary))([{"source": "今天", "target": "好"}])
    assert batch["input_ids"].tolist() == [[2, *(small_vocabulary[c] for c in "今天"), 3, small_vocabulary["好"], 3]]


def test_it_can_be_pickled(tokenizer: WoBertTokenizer) -> None:
    collator, row = UniLmCollator(tokenizer), {"source": "酒店服务", "target": "服务"}
    again = pickle.loads(pickle.dumps(collator))
    assert torch.equal(again([row])["input_ids"], collator([row])["input_ids"])


def test_ends_are_dropped_on_request(tokenizer: WoBertTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    pair = [small(tokenizer, "酒店"), small(tokenizer, "服务")]
    encoding = PairEncoding(tokenizer, max_source_length=4, max_target_length=2, overlong="truncate")
    assert encoding.sources(["酒店服务不错", "好"]) == [[2, *pair, 3], [2, small(tokenizer, "好"), 3]]
    # A target that is cut has no end, so that nobody learns to stop there.
    assert encoding.targets(["酒店服务不错", "好"]) == [pair, [small(tokenizer, "好"), 3]]
    encoding.sources(["酒店服务不错"])
    assert caplog.messages == [
        "sources are cut off at 4 tokens; the first of them has 5",
        "targets are cut off at 2 tokens; the first of them has 4",
    ]


def small(tokenizer: WoBertTokenizer, token: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token))


def test_lengths_are_what_the_model_has_room_for(small_vocabulary: dict[str, int]) -> None:
    assert PairEncoding(WoBertTokenizer(small_vocabulary), max_target_length=100).max_source_length == 412
    unlimited = BertTokenizer(small_vocabulary, model_max_length=int(1e30))
    assert PairEncoding(unlimited).max_source_length == 448


@pytest.mark.parametrize(
    ("settings", "rows", "error", "message"),
    [
        ({"max_target_length": 3}, [{"source": "好", "target": "好"}, {"source": "好", "target": "酒店服务不错"}],
         ValueError, "the target '酒店服务不错'... has 4 tokens, max_target_length is 3; give a greater one"),
        ({"max_source_length": 3}, [{"source": "酒店服务", "target": "好"}],
         ValueError, "the source '酒店服务'... has 4 tokens, max_source_length is 3; give a greater one"),
        ({"overlong": "cut"}, [], ValueError, "overlong='cut' is unknown; use 'refuse' or 'truncate'"),
        ({"max_source_length": 2}, [], ValueError, "max_source_length=2 and max_target_length=64 leave no room"),
        ({"max_source_length": 500}, [], ValueError,
         "max_source_length=500 and max_target_length=64 are 564 tokens, and the tokenizer's model_max_length is 512"),
        ({}, [], ValueError, "no rows to make a batch of"),
        ({}, [{"text": "好", "target": "好"}], ValueError, "row 0 has no 'source', it has 'text', 'target'; name its"),
        ({}, [{"source": "好", "target": "好"}, {"source": "好"}], ValueError, "row 1 has no 'target', others have"),
        ({}, [{"source": "好", "target": 3}], TypeError, "the target of row 0 must be a string, not int: 3"),
    ],
)  # fmt: skip
def test_bad_input_is_named(
    tokenizer: WoBertTokenizer, settings: dict[str, Any], rows: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        UniLmCollator(tokenizer, **settings)(rows)


def test_a_tokenizer_without_an_end_is_refused() -> None:
    tokenizer = BertTokenizer({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2}, sep_token=None)
    with pytest.raises(ValueError, match="the tokenizer has no sep_token"):
        UniLmCollator(tokenizer)
