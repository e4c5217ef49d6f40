"""Rows learnt from the old model: what changes, what does not, and how near the states come."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import (
    BertForMaskedLM,
    BertTokenizer,
    DPRConfig,
    DPRQuestionEncoder,
    ElectraForMaskedLM,
    PreTrainedModel,
    ReformerConfig,
    ReformerForMaskedLM,
)

from nlpkit.wobert import WordModel, distil_rows, wordify
from nlpkit.wobert.wordifying.learnt_rows import LearntRows
from nlpkit.wobert.wordifying.paired_texts import mean_states, read_pairs, shared_stretches

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = ["今", "天", "气", "不", "错", "很", "好", "酒", "店", "，", "。"]
NEW = ["今天", "天气", "不错", "酒店"]
WORDS = [*SPECIAL, *CHARACTERS, *NEW]
TEXTS = ["今天酒店很好，天气不错。", "天气不错", "酒店很好，今天不错。", "很好，天气", "今天好"]


def sentences(seed: int, count: int) -> list[str]:
    """Words and characters in any order, commas between them."""
    order = random.Random(seed)
    return ["，".join(order.choices([*NEW, "很", "好"], k=order.randrange(2, 6))) for _ in range(count)]


LEARNT_FROM, HELD_OUT = sentences(0, 200), sentences(1, 20)


def small(cls: Any = BertForMaskedLM, **settings: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = cls(
        cls.config_class(
            vocab_size=len(SPECIAL + CHARACTERS),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=40,
            **settings,
        )
    )
    with torch.no_grad():
        # Rows that the layers react to, and an output that has something to say.
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.25)
            elif name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def characters() -> BertTokenizer:
    return BertTokenizer(vocab={token: number for number, token in enumerate([*SPECIAL, *CHARACTERS])})


def distance(words: WordModel, teacher: PreTrainedModel, tokenizer: BertTokenizer, texts: list[str]) -> float:
    """Squared distance of pooled states, text by text, without padding."""
    total = 0.0
    for text in texts:
        old = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
        new = words.tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
        places = shared_stretches(old.pop("offset_mapping")[0].tolist(), new.pop("offset_mapping")[0].tolist())
        with torch.no_grad():
            before = mean_states(teacher.base_model(**old)[0], torch.tensor([places[0]]), places[2])
            after = mean_states(words.model.base_model(**new)[0], torch.tensor([places[1]]), places[2])
        total += (before - after).square().sum().item()
    return total


@pytest.mark.parametrize("settings", [{}, {"tie_word_embeddings": False}])
def test_only_new_rows_and_their_bias_change_bit_for_bit(characters: BertTokenizer, settings: dict[str, Any]) -> None:
    source = small(**settings)
    before = copy.deepcopy(source.state_dict())
    plain = wordify(source, characters, WORDS).model.state_dict()
    learnt = wordify(source, characters, WORDS, distil=TEXTS, steps=3, show_progress=False)
    first = len(SPECIAL) + len(CHARACTERS)
    changed = set()
    for name, tensor in learnt.model.state_dict().items():
        if tensor.shape[:1] == (len(WORDS),):
            assert torch.equal(tensor[:first], plain[name][:first]), name
            changed |= {name} if (tensor[first:] != plain[name][first:]).reshape(len(NEW), -1).any(1).all() else set()
        else:
            assert torch.equal(tensor, plain[name]), name
    assert "bert.embeddings.word_embeddings.weight" in changed
    assert "cls.predictions.bias" in changed
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.state_dict().items()), "the source"
    assert all(parameter.requires_grad for parameter in [*source.parameters(), *learnt.model.parameters()])
    assert not learnt.model.training


def test_words_that_no_text_holds_change_by_what_all_words_share(characters: BertTokenizer) -> None:
    source = small()
    plain = wordify(source, characters, WORDS)
    learnt = wordify(source, characters, WORDS, distil=["今天好", "今天很好"], steps=4, show_progress=False)
    ids = learnt.tokenizer.get_vocab()
    old, new = (words.model.get_input_embeddings().weight for words in (plain, learnt))
    assert not torch.equal(new[ids["今天"]], old[ids["今天"]])
    assert not torch.equal(new[ids["酒店"]], old[ids["酒店"]])
    assert learnt.report.distillation is not None
    assert learnt.report.distillation.rows_seen == 1
    assert "4 steps on 256 texts with 1 of the new rows; loss" in str(learnt.report)


def test_a_learnt_row_is_its_beginning_the_maps_of_its_pieces_and_its_own_part(characters: BertTokenizer) -> None:
    source = small().double()
    words = wordify(source, characters, WORDS)
    ids = [words.tokenizer.get_vocab()[word] for word in NEW]
    old = source.get_input_embeddings().weight.detach()
    pieces = [characters.convert_tokens_to_ids(list(word)) for word in NEW]
    learnt = LearntRows(words.model, ids, pieces, old, learn_bias=False)
    before = words.model.get_input_embeddings().weight.detach()[ids]
    every = torch.arange(len(NEW))
    assert torch.equal(learnt.rows(every), before)
    for parameter in (learnt.own, learnt.maps, learnt.offset):
        torch.nn.init.normal_(parameter)
    for place, row in enumerate(pieces):
        expected = before[place] + learnt.own[place] + learnt.offset
        for number, piece in enumerate(row):
            expected = expected + old[piece] @ learnt.maps[number]
        torch.testing.assert_close(learnt.rows(every)[place], expected, rtol=0, atol=1e-12)
    with learnt.in_place():
        given = words.model.get_input_embeddings()(torch.tensor([[*ids, 5]]))
        words.model.get_input_embeddings()(torch.tensor([[ids[2], 5, ids[2]]])).sum().backward()
    assert learnt.own.grad is not None
    assert learnt.own.grad.any(dim=1).tolist() == [False, False, True, False], "only what a text shows"
    torch.testing.assert_close(given[0, :-1], learnt.rows(every), rtol=0, atol=1e-12)
    assert torch.equal(given[0, -1], words.model.get_input_embeddings().weight[5])


@pytest.mark.parametrize("cls", [BertForMaskedLM, ElectraForMaskedLM])
def test_the_loss_falls_and_held_out_states_come_nearer_than_means(cls: Any, characters: BertTokenizer) -> None:
    source = small(cls)
    plain = wordify(source, characters, WORDS)
    learnt = wordify(source, characters, WORDS, distil=LEARNT_FROM, steps=60, show_progress=False)
    assert learnt.report.distillation is not None
    losses = learnt.report.distillation.losses
    assert sum(losses[-15:]) < 0.95 * sum(losses[:15])
    near, far = (distance(words, source, characters, HELD_OUT) for words in (learnt, plain))
    assert near < 0.95 * far


def test_a_shortened_model_learns_from_the_source_shortened_alike(characters: BertTokenizer) -> None:
    source = small()
    learnt = wordify(source, characters, WORDS, layers=(1,), distil=LEARNT_FROM, steps=40, show_progress=False)
    plain = wordify(source, characters, WORDS, layers=(1,))
    shorter = copy.deepcopy(source)
    del shorter.bert.encoder.layer[0]
    near, far = (distance(words, shorter, characters, HELD_OUT) for words in (learnt, plain))
    assert near < far


def test_a_seed_and_a_stream_decide_the_rows(characters: BertTokenizer) -> None:
    source = small()

    def rows(texts: Any, seed: int) -> torch.Tensor:
        words = wordify(source, characters, WORDS)
        new = [words.tokenizer.get_vocab()[word] for word in NEW]
        distil_rows(
            words.model, words.tokenizer, source, characters, new, texts, steps=3, batch_size=2, seed=seed,
            show_progress=False,
        )  # fmt: skip
        return words.model.get_input_embeddings().weight.detach()

    def stream() -> Iterator[str]:
        while True:
            yield from TEXTS

    assert torch.equal(rows(TEXTS, 0), rows(stream(), 0))
    assert not torch.equal(rows(TEXTS, 0), rows(TEXTS, 1))


def test_autocast_and_bf16_weights_work_and_fp16_is_refused(characters: BertTokenizer) -> None:
    source = small()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = wordify(source, characters, WORDS, distil=TEXTS, steps=3, show_progress=False)
    narrow = wordify(source.bfloat16(), characters, WORDS, distil=TEXTS, steps=3, show_progress=False)
    for words in (mixed, narrow):
        assert words.model.get_input_embeddings().weight.isfinite().all()
    assert mixed.model.dtype == torch.float32
    assert narrow.model.dtype == torch.bfloat16
    wide = wordify(source.half(), characters, WORDS, distil=TEXTS, steps=3, show_progress=False)
    assert wide.model.dtype == torch.float32
    assert wide.model.get_input_embeddings().weight.isfinite().all()
    with pytest.raises(ValueError, match=r"rows cannot be learnt in fp16.*dtype='float32'"):
        distil_rows(wide.model.half(), wide.tokenizer, source, characters, [5], TEXTS)


@pytest.mark.parametrize(
    ("texts", "steps", "error", "message"),
    [
        ([], 2, ValueError, "distil holds no texts"),
        (["很好，好", "好"], 2, ValueError, "none of the 2 texts of distil holds a new word"),
        (iter(TEXTS), 2, ValueError, "distil is an iterator that ended after 5 texts with a new word"),
        (TEXTS, 0, ValueError, "steps must be a positive whole number, got 0"),
        (TEXTS, -1, ValueError, "steps must be a positive whole number, got -1"),
        (TEXTS, 1.5, ValueError, "steps must be a positive whole number, got 1.5"),
        (TEXTS, True, ValueError, "steps must be a positive whole number, got True"),
        ({"text": "今天"}, 2, TypeError, "distil is a dict; give the texts alone"),
        (5, 2, TypeError, "distil is no iterable of texts, but 5"),
        (["今天", "天气\ud800"], 2, ValueError, "text 1 of distil is no Unicode text: surrogates not allowed"),
        ("今天", 2, TypeError, "distil is one str; give a list of texts"),
        (["今天", None], 2, TypeError, "distil must hold texts, but text 1 is a NoneType"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(
    texts: Any, steps: int, error: type[Exception], message: str, characters: BertTokenizer
) -> None:
    with pytest.raises(error, match=message):
        wordify(small(), characters, WORDS, distil=texts, steps=steps, show_progress=False)


def test_texts_are_cut_to_the_positions_of_the_model(characters: BertTokenizer) -> None:
    learnt = wordify(small(), characters, WORDS, distil=["今天酒店很好，" * 30], steps=1, show_progress=False)
    assert learnt.report.distillation is not None


def test_models_that_return_tuples_or_several_states_are_taught(characters: BertTokenizer) -> None:
    tuples = small()
    tuples.config.return_dict = False
    settings = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    encoder = DPRQuestionEncoder(DPRConfig(**{name: getattr(tuples.config, name) for name in settings}))
    for source in (tuples, encoder):
        learnt = wordify(source, characters, WORDS, distil=TEXTS, steps=1, show_progress=False)
        assert learnt.report.distillation is not None


def test_gradients_are_needed_and_a_model_without_them_is_refused_before_the_work(characters: BertTokenizer) -> None:
    source = small()
    with torch.no_grad():
        wordify(source, characters, WORDS, distil=TEXTS, steps=1, show_progress=False)
    with torch.inference_mode(), pytest.raises(ValueError, match=r"call this outside of torch\.inference_mode"):
        wordify(source, characters, WORDS, distil=TEXTS, steps=1)
    lsh = ReformerForMaskedLM(
        ReformerConfig(
            vocab_size=16, hidden_size=16, num_attention_heads=2, attention_head_size=8, feed_forward_size=16,
            attn_layers=["local"], local_attn_chunk_length=4, axial_pos_embds=False, max_position_embeddings=64,
            is_decoder=False,
        )
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"distil= passes gradients .*, which ReformerForMaskedLM does not allow"):
        wordify(lsh, characters, WORDS, distil=TEXTS, steps=1)
    assert wordify(lsh, characters, WORDS).report.distillation is None


def test_a_vocabulary_without_new_words_has_nothing_to_learn(characters: BertTokenizer) -> None:
    with pytest.raises(ValueError, match="there are no new rows to learn"):
        wordify(small(), characters, [*SPECIAL, *CHARACTERS], distil=TEXTS)


def test_the_same_tokens_have_the_same_states(characters: BertTokenizer) -> None:
    """Where both tokenizers agree there is nothing to learn: the loss of a text without new words is 0."""
    source = small()
    words = wordify(source, characters, WORDS)
    assert distance(words, source, characters, ["很好，好", "好"]) == 0
    assert distance(words, source, characters, ["今天很好"]) > 0


def test_stretches_end_where_both_tokenizations_end_a_token() -> None:
    old = [(0, 0), (0, 1), (1, 3), (3, 4), (4, 5), (0, 0)]
    new = [(0, 0), (0, 3), (3, 5), (0, 0)]
    assert shared_stretches(old, new) == ([-1, 0, 0, 1, 1, -1], [-1, 0, 1, -1], 2)


def test_what_one_side_cut_off_belongs_to_no_stretch(characters: BertTokenizer) -> None:
    words = wordify(small(), characters, WORDS)
    pair = next(read_pairs(["今天酒店很好，天气不错。"], words.tokenizer, characters, [16, 17, 18, 19], 7))
    assert len(pair.old["input_ids"]) == 7
    assert pair.old_stretches == [-1, 0, 0, 1, 1, 2, -1]
    assert pair.new_stretches == [-1, 0, 1, 2, -1]
