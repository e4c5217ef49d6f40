from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BertConfig, BertForMaskedLM, BertModel, BertTokenizer

from nlpkit.vocabulary_pruning import graft_vocabulary
from nlpkit.vocabulary_pruning.grafting.spellings import Spelling, spellings, stand_ins
from nlpkit.wobert import WoBertTokenizer
from tests.vocabulary_pruning.small_models import bert, bpe_tokenizer, mt5, qwen

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def words(*tokens: str) -> BertTokenizer:
    return BertTokenizer(vocab={name: number for number, name in enumerate([*SPECIAL, *tokens])})


def test_tokens_of_three_kinds_spell_the_same() -> None:
    byte_level, sentencepiece, word_piece = bpe_tokenizer(), mt5()[1], words("the", "##ing", "好")
    word = next(name for name in sentencepiece.get_vocab() if name.startswith("▁") and name[1:].isalpha())
    found = {
        "Ġ": spellings(byte_level)[byte_level.convert_tokens_to_ids("Ġa")],
        "▁": spellings(sentencepiece)[sentencepiece.convert_tokens_to_ids(word)],
        "<": spellings(sentencepiece)[sentencepiece.convert_tokens_to_ids("<0xE5>")],
        "##": spellings(word_piece)[word_piece.convert_tokens_to_ids("##ing")],
    }
    assert found == {
        "Ġ": Spelling(True, b"a"),
        "▁": Spelling(True, word[1:].encode()),
        "<": Spelling(False, b"\xe5"),
        "##": Spelling(False, b"ing"),
    }
    assert not set(spellings(byte_level)) & set(byte_level.all_special_ids)


def test_a_token_stands_for_itself_and_others_for_their_pieces() -> None:
    old, new = words("play", "##ing", "##s", "sun", "天", "气"), words("sun", "playing", "##ing", "天气", "龘", "ing")
    assert stand_ins(new, old) == [(0,), (1,), (2,), (3,), (4,), (8,), (5, 6), (6,), (9, 10), (1,), (6,)]


@pytest.mark.parametrize(("source", "new"), [(mt5, bpe_tokenizer), (qwen, lambda: mt5()[1]), (bert, lambda: mt5()[1])])
def test_every_token_that_is_not_special_is_spelt_by_its_pieces(source, new) -> None:  # type: ignore[no-untyped-def]
    _, old = source()
    made = new()
    pieces = stand_ins(made, old)
    theirs, ours = spellings(old), spellings(made)
    assert len(pieces) == len(made)
    for number, spelling in ours.items():
        spelt = b"".join(theirs[piece].content for piece in pieces[number] if piece in theirs)
        known = old.unk_token_id not in pieces[number] and len(spelling.content) > 0
        text = spelling.content.decode(errors="replace")
        if known and text.isalnum() and not text.startswith("<"):
            assert spelt == (spelling.content.lower() if source is bert else spelling.content), (number, spelling)


@pytest.mark.parametrize("source", [mt5, qwen, bert])
def test_its_own_tokenizer_changes_nothing(source) -> None:  # type: ignore[no-untyped-def]
    model, tokenizer = source()
    found = graft_vocabulary(model, tokenizer, tokenizer).model
    size = len(tokenizer)
    assert torch.equal(found.get_input_embeddings().weight, model.get_input_embeddings().weight[:size])
    assert torch.equal(found.get_output_embeddings().weight, model.get_output_embeddings().weight[:size])
    assert found.config.to_dict() == model.config.to_dict() | {"vocab_size": size}


def test_an_mt5_with_words_of_chinese_loads_and_is_untied(small_vocabulary: dict[str, int], tmp_path: Path) -> None:
    model, tokenizer = mt5()
    model.generation_config.eos_token_id = model.config.eos_token_id
    word_tokenizer = BertTokenizer(vocab=small_vocabulary)
    found = graft_vocabulary(model, tokenizer, word_tokenizer)
    ids = word_tokenizer.get_vocab()
    assert (found.model.config.pad_token_id, found.model.config.eos_token_id) == (ids["[PAD]"], ids["[SEP]"])
    assert found.model.config.decoder_start_token_id == ids["[PAD]"]
    pieces = tokenizer("天气", add_special_tokens=False)["input_ids"]
    if len(pieces) == 2:  # the mark, and the word
        expected = model.lm_head.weight[pieces[1]]
        torch.testing.assert_close(found.model.lm_head.weight[ids["天气"]], expected)
    found.save(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert torch.equal(loaded.lm_head.weight, found.model.lm_head.weight)
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == len(word_tokenizer) == loaded.config.vocab_size


def test_a_word_tokenizer_of_ours_can_be_the_new_one(small_vocabulary: dict[str, int]) -> None:
    model, tokenizer = bert()
    found = graft_vocabulary(model, tokenizer, WoBertTokenizer(small_vocabulary))
    assert found.model.config.vocab_size == len(small_vocabulary)
    assert found.report.unknown > 0


def test_what_a_donor_knows_is_combined_as_there() -> None:
    """The donor's embedding is the model's, turned and for its own tokens: what is a sum there is one here."""
    old, new = words("a", "##b", "c", "##d"), words("a", "##b", "c", "##d", "ab", "cd")
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(vocab_size=9, **sizes)).double()
    donor = BertModel(BertConfig(vocab_size=11, **sizes)).double()
    turn = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))[0]
    table, rows = donor.get_input_embeddings().weight, model.get_input_embeddings().weight
    with torch.no_grad():
        table[:9] = rows @ turn
        table[9] = 2 * table[5] - table[8]
        table[10] = table[6] + 3 * table[7]
    found = graft_vocabulary(model, old, new, donor=donor, sparsity=2)
    made = found.model.get_input_embeddings().weight
    torch.testing.assert_close(made[9], 2 * rows[5] - rows[8], rtol=0, atol=1e-5)  # the donor is read in fp32
    torch.testing.assert_close(made[10], rows[6] + 3 * rows[7], rtol=0, atol=1e-5)
    assert torch.equal(made[:9], rows)
    assert (found.report.from_donor, found.report.averaged) == (2, 0)
    with pytest.raises(ValueError, match="the donor has 9 rows, the new tokenizer 11 tokens"):
        graft_vocabulary(model, old, new, donor=model)
    with pytest.raises(ValueError, match="leave donor=None"):
        graft_vocabulary(model, old, old, donor=model)


def test_what_cannot_be_grafted_is_named() -> None:
    model, tokenizer = qwen()
    with pytest.raises(ValueError, match=r"settings name '<\|im_end\|>' \(\d+\), which the new tokenizer lacks"):
        new = words("a")
        new.eos_token = None
        new.sep_token = None
        graft_vocabulary(model, tokenizer, new)
    gaps = BertTokenizer(vocab={name: 2 * number for number, name in enumerate(SPECIAL)})
    with pytest.raises(ValueError, match="the new tokenizer has ids up to 8, but not all of them"):
        graft_vocabulary(model, tokenizer, gaps)
