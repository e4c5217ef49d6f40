from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import (
    AlbertForMaskedLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BartForConditionalGeneration,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertLMHeadModel,
    BertModel,
    BertTokenizer,
    CamembertForMaskedLM,
    DistilBertForMaskedLM,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    GPT2LMHeadModel,
    MobileBertForMaskedLM,
    PreTrainedModel,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
    T5ForConditionalGeneration,
    XLMRobertaForMaskedLM,
)

from nlpkit import WoBertForMaskedLM, WoBertTokenizer, wordify
from nlpkit.wobert.words.vocabulary_file import write_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = ["今", "天", "气", "不", "错", "很", "好", "酒", "店", "，", "a", "##a", "##b"]
#: Words of two and three characters among kept ones; the source lacks 龘.
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "今天",
    "好",
    "天气",
    "很",
    "不错",
    "酒店",
    "，",
    "天",
    "今天气",
    "龘",
    "错",
]
SIZE = len(SPECIAL) + len(CHARACTERS)
SMALL: dict[str, Any] = {
    "vocab_size": SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}

Build = Callable[..., PreTrainedModel]


def build(cls: type[PreTrainedModel], **settings: Any) -> PreTrainedModel:
    """A small model in which every number is random, biases and norms included."""
    torch.manual_seed(0)
    model = cls(cls.config_class(**(SMALL | settings))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


def roberta(cls: type[PreTrainedModel], **settings: Any) -> PreTrainedModel:
    return build(cls, **({"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1} | settings))


@pytest.fixture(scope="module")
def characters() -> BertTokenizer:
    return BertTokenizer(vocab={token: number for number, token in enumerate([*SPECIAL, *CHARACTERS])})


@pytest.fixture(scope="module")
def roberta_characters() -> BertTokenizer:
    """The same characters under RoBERTa's special tokens, in RoBERTa's order."""
    names = ["<s>", "<pad>", "</s>", "<unk>", *CHARACTERS, "<mask>"]
    return BertTokenizer(
        vocab={token: number for number, token in enumerate(names)},
        cls_token="<s>",
        pad_token="<pad>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


#: The vocabulary of `roberta_characters` in BERT's conventions, every id the same.
ROBERTA_ORDER = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *CHARACTERS, "[MASK]"]


def logits_of(model: PreTrainedModel, ids: Tensor, **inputs: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **inputs).logits


def states_of(model: PreTrainedModel, ids: Tensor, **inputs: Any) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return model(input_ids=ids, output_hidden_states=True, **inputs).hidden_states


def mean_by_hand(matrix: Tensor, tokenizer: BertTokenizer, word: str) -> Tensor:
    """The mean of a Chinese word's characters, one addition after another."""
    ids = [tokenizer.convert_tokens_to_ids(character) for character in word]
    total = matrix[ids[0]].float()
    for number in ids[1:]:
        total = total + matrix[number].float()
    return (total / len(ids)).to(matrix.dtype)


def expected_rows(matrix: Tensor, tokenizer: BertTokenizer) -> Tensor:
    rows = []
    for word in WORDS:
        if word in SPECIAL or word == "龘":
            rows.append(matrix[tokenizer.convert_tokens_to_ids(word)])
        else:
            rows.append(mean_by_hand(matrix, tokenizer, word))
    return torch.stack(rows)


# --- rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_are_copies_and_means_bit_for_bit(characters: BertTokenizer, dtype: torch.dtype) -> None:
    source = build(BertForMaskedLM).to(dtype)
    target = wordify(source, characters, WORDS).model
    rows, biases = source.bert.embeddings.word_embeddings.weight, source.cls.predictions.bias
    trainable = torch.float32 if dtype == torch.float16 else dtype
    assert target.dtype == trainable
    made = target.bert.embeddings.word_embeddings.weight
    assert torch.equal(made, expected_rows(rows, characters).to(trainable))
    assert torch.equal(target.cls.predictions.bias, expected_rows(biases, characters).to(trainable))


def test_weighted_rows_are_weighted_means(characters: BertTokenizer) -> None:
    source = build(BertForMaskedLM)
    target = wordify(
        source, characters, WORDS, piece_weights=lambda word, pieces: [3.0] + [1.0] * (len(pieces) - 1)
    ).model
    rows, ids = source.bert.embeddings.word_embeddings.weight, characters.convert_tokens_to_ids
    made = target.bert.embeddings.word_embeddings.weight
    torch.testing.assert_close(made[WORDS.index("今天")], 0.75 * rows[ids("今")] + 0.25 * rows[ids("天")])
    assert torch.equal(made[WORDS.index("好")], rows[ids("好")])


def test_an_untied_decoder_and_its_bias_are_expanded_on_their_own(characters: BertTokenizer) -> None:
    source = build(BertForMaskedLM, tie_word_embeddings=False)
    target = wordify(source, characters, WORDS).model
    assert target.config.tie_word_embeddings is False
    head, made = source.cls.predictions, target.cls.predictions
    for old, new in (
        (source.bert.embeddings.word_embeddings.weight, target.bert.embeddings.word_embeddings.weight),
        (head.decoder.weight, made.decoder.weight),
        (head.decoder.bias, made.decoder.bias),
        (head.bias, made.bias),
    ):
        assert torch.equal(new, expected_rows(old, characters))


def test_a_decoder_that_was_loaded_untied_stays_untied(characters: BertTokenizer) -> None:
    source = build(BertForMaskedLM)
    source.cls.predictions.decoder.weight = nn.Parameter(torch.randn(SIZE, 16))
    assert source.config.tie_word_embeddings
    target = wordify(source, characters, WORDS).model
    assert torch.equal(
        target.cls.predictions.decoder.weight, expected_rows(source.cls.predictions.decoder.weight, characters)
    )


# --- identities -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [BertForMaskedLM, BertForPreTraining, WoBertForMaskedLM])
def test_bert_with_its_whole_vocabulary_computes_the_same(
    cls: type[PreTrainedModel], characters: BertTokenizer
) -> None:
    source = build(cls)
    target = wordify(source, characters, [*SPECIAL, *CHARACTERS]).model
    assert type(target) is WoBertForMaskedLM
    ids = torch.tensor([[2, 5, 6, 3, 7, 8, 3], [2, 9, 4, 11, 3, 0, 0]])
    inputs = {"attention_mask": (ids != 0).long(), "token_type_ids": torch.tensor([[0, 0, 0, 0, 1, 1, 1], [0] * 7])}
    for old, new in zip(states_of(source, ids, **inputs), states_of(target, ids, **inputs), strict=True):
        assert torch.equal(old, new)
    scores = "prediction_logits" if cls is BertForPreTraining else "logits"
    with torch.no_grad():
        old = getattr(source(input_ids=ids, **inputs), scores)
    assert torch.equal(old, logits_of(target, ids, **inputs))


@pytest.mark.parametrize("cls", [RobertaForMaskedLM, XLMRobertaForMaskedLM, CamembertForMaskedLM])
@pytest.mark.parametrize("tie", [True, False])
def test_roberta_with_its_whole_vocabulary_computes_the_same(
    cls: type[PreTrainedModel], tie: bool, roberta_characters: BertTokenizer
) -> None:
    source = roberta(cls, tie_word_embeddings=tie)
    target = wordify(source, roberta_characters, ROBERTA_ORDER).model
    assert type(target) is WoBertForMaskedLM
    assert target.config.max_position_embeddings == 38
    ids = torch.tensor([[0, 5, 6, 7, 2], [0, 9, SIZE - 1, 2, 1]])
    mask = ids != 1
    for old, new in zip(
        states_of(source, ids, attention_mask=mask), states_of(target, ids, attention_mask=mask), strict=True
    ):
        assert torch.equal(old[mask], new[mask])  # positions of padding differ, and nothing attends to it
    old, new = logits_of(source, ids, attention_mask=mask), logits_of(target, ids, attention_mask=mask)
    assert torch.equal(old[mask], new[mask])


def test_roberta_reads_pairs_as_before(roberta_characters: BertTokenizer) -> None:
    source = roberta(RobertaForMaskedLM)
    words = wordify(source, roberta_characters, ROBERTA_ORDER)
    pair = words.tokenizer("天气", "好", return_tensors="pt")
    assert pair["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]
    assert torch.equal(
        logits_of(words.model, **{"ids": pair.pop("input_ids")}, **pair),
        logits_of(source, words.tokenizer("天气", "好", return_tensors="pt")["input_ids"]),
    )


@pytest.mark.parametrize("cls", [DistilBertForMaskedLM, ElectraForMaskedLM, AlbertForMaskedLM, BertModel])
def test_the_tokenizer_makes_the_inputs_that_its_model_takes(
    cls: type[PreTrainedModel], characters: BertTokenizer, tmp_path: Path
) -> None:
    words = wordify(build(cls, type_vocab_size=1) if cls is BertModel else build(cls), characters, WORDS)
    words.tokenizer.save_pretrained(tmp_path)
    for tokenizer in (words.tokenizer, WoBertTokenizer.from_pretrained(tmp_path)):
        inputs = tokenizer("天气", "好", return_tensors="pt")
        assert ("token_type_ids" in inputs) is (cls is not DistilBertForMaskedLM)
        with torch.no_grad():
            assert words.model(**inputs).logits.shape == (1, 5, len(WORDS))


def test_roberta_fills_every_position_it_had(roberta_characters: BertTokenizer) -> None:
    source = roberta(RobertaForMaskedLM)
    words = wordify(source, roberta_characters, ROBERTA_ORDER)
    assert words.tokenizer.model_max_length == 38
    ids = torch.full((1, 38), 5)
    assert torch.equal(logits_of(words.model, ids), logits_of(source, ids))


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (BertForMaskedLM, {}),
        (BertForMaskedLM, {"tie_word_embeddings": False}),
        (ElectraForMaskedLM, {"embedding_size": 12}),
        (AlbertForMaskedLM, {"embedding_size": 12, "num_hidden_groups": 2}),
        (DistilBertForMaskedLM, {"dim": 16, "hidden_dim": 24, "n_heads": 2, "n_layers": 2}),
    ],
)
def test_logits_over_kept_tokens_are_unchanged(
    cls: type[PreTrainedModel], settings: dict[str, Any], characters: BertTokenizer
) -> None:
    source = build(cls, pad_token_id=0, **settings).double()
    words = wordify(source, characters, WORDS)
    kept = [token for token in WORDS if token in characters.get_vocab()]
    old_ids = torch.tensor(characters.convert_tokens_to_ids(kept))
    new_ids = torch.tensor([WORDS.index(token) for token in kept])
    text = torch.tensor([[2, 4, 0, 7, 3], [1, 6, 8, 5, 3]])  # places in `kept`
    old = logits_of(source, old_ids[text])[..., old_ids]
    new = logits_of(words.model, new_ids[text])[..., new_ids]
    torch.testing.assert_close(new, old, rtol=1e-12, atol=1e-12)


def test_an_unknown_token_is_read_as_the_source_reads_its_unknown_token(characters: BertTokenizer) -> None:
    source = build(BertForMaskedLM)
    words = wordify(source, characters, WORDS)
    old, new = (logits_of(words.model, torch.tensor([[2, WORDS.index(token), 3]])) for token in ("[UNK]", "龘"))
    assert torch.equal(old, new)
    assert words.report.unknown_tokens == ("龘",)


@pytest.mark.parametrize("cls", [BertForMaskedLM, ElectraForMaskedLM, BertModel])
def test_chosen_layers_are_those_of_a_model_cut_by_hand(cls: type[PreTrainedModel], characters: BertTokenizer) -> None:
    source = build(cls)
    cut = copy.deepcopy(source)
    encoder = cut.base_model.encoder
    encoder.layer = nn.ModuleList([encoder.layer[0], encoder.layer[3]])
    target = wordify(source, characters, [*SPECIAL, *CHARACTERS], layers=(0, 3)).model
    assert target.config.num_hidden_layers == 2
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    assert torch.equal(states_of(target.base_model, ids)[-1], states_of(cut.base_model, ids)[-1])
    if cls is not BertModel:
        assert torch.equal(logits_of(target, ids), logits_of(cut, ids))


# --- what surrounds the rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"tie_word_embeddings": False}], ids=["tied", "untied"])
def test_saved_word_models_load_equal(settings: dict[str, Any], characters: BertTokenizer, tmp_path: Path) -> None:
    words = wordify(build(BertForMaskedLM, **settings), characters, WORDS, layers=(1, 2))
    words.model.save_pretrained(tmp_path)
    words.tokenizer.save_pretrained(tmp_path)
    loaded, tokenizer = AutoModelForMaskedLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer("今天天气不[MASK]，酒店很好", return_tensors="pt")
    assert torch.equal(
        words.tokenizer("今天天气不[MASK]，酒店很好", return_tensors="pt")["input_ids"], inputs["input_ids"]
    )
    assert tokenizer.model_max_length == 40
    assert type(loaded) is WoBertForMaskedLM
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, words.model(**inputs).logits)
    is_shared = loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight
    assert is_shared is words.model.config.tie_word_embeddings


@pytest.mark.parametrize("cls", [BertForMaskedLM, ElectraForMaskedLM])
def test_the_source_is_left_as_it_was(cls: type[PreTrainedModel], characters: BertTokenizer) -> None:
    source = build(cls)
    state, config = copy.deepcopy(source.state_dict()), source.config.to_dict()
    target = wordify(source, characters, WORDS, layers=(0,)).model
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.fill_(7)
    assert source.config.to_dict() == config
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in state.items())


def test_special_ids_and_padding_move_with_their_tokens(roberta_characters: BertTokenizer) -> None:
    vocabulary = ["今天", "[MASK]", "[SEP]", "[CLS]", "[UNK]", "好", "[PAD]"]
    target = wordify(roberta(RobertaForMaskedLM), roberta_characters, vocabulary).model
    config = target.config
    assert (config.vocab_size, config.pad_token_id, config.bos_token_id, config.eos_token_id) == (7, 6, 3, 2)
    assert target.get_input_embeddings().padding_idx == 6


def test_ids_of_tokens_that_are_gone_become_none(characters: BertTokenizer) -> None:
    gone, kept = characters.convert_tokens_to_ids(["酒", "好"])
    target = wordify(build(BertForMaskedLM, bos_token_id=gone, eos_token_id=kept), characters, WORDS).model
    assert (target.config.bos_token_id, target.config.eos_token_id) == (None, WORDS.index("好"))


def test_special_ids_are_those_of_the_special_tokens_whatever_stands_before_them(characters: BertTokenizer) -> None:
    source = build(BertForMaskedLM, pad_token_id=None, unk_token_id=1)
    config = wordify(source, characters, ["龘", *SPECIAL]).model.config
    assert (config.pad_token_id, config.unk_token_id) == (1, 2)


@pytest.mark.parametrize("training", [True, False])
def test_mode_is_kept(training: bool, characters: BertTokenizer) -> None:
    assert wordify(build(BertModel).train(training), characters, WORDS).model.training is training


def test_sparse_prediction_is_kept(characters: BertTokenizer) -> None:
    assert wordify(build(WoBertForMaskedLM, sparse_prediction=True), characters, WORDS).model.config.sparse_prediction


def test_padded_embeddings_are_accepted(characters: BertTokenizer) -> None:
    many = {token: number for number, token in enumerate([*SPECIAL, *CHARACTERS, *map(str, range(1000, 2000))])}
    source = build(BertForMaskedLM, vocab_size=1024)
    assert wordify(source, BertTokenizer(vocab=many), WORDS).report.vocabulary_before == 1024
    assert wordify(build(BertForMaskedLM, vocab_size=64), characters, WORDS).report.vocabulary_before == 64


def test_vocabularies_come_as_dict_list_or_file(characters: BertTokenizer, tmp_path: Path) -> None:
    source, ids = build(BertForMaskedLM), {token: number for number, token in enumerate(WORDS)}
    write_vocabulary(ids, tmp_path / "vocab.txt")
    models = [wordify(source, characters, form).model for form in (ids, WORDS, tmp_path / "vocab.txt")]
    rows = [model.get_input_embeddings().weight for model in models]
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[0], rows[2])


# --- heads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "dropped"),
    [(BertModel, ("pooler",)), (BertForSequenceClassification, ("pooler", "classifier"))],
)
def test_an_encoder_gets_a_fresh_head_and_says_so(
    cls: type[PreTrainedModel], dropped: tuple[str, ...], characters: BertTokenizer
) -> None:
    words = wordify(build(cls), characters, WORDS)
    head = words.model.cls.predictions
    assert words.report.fresh_head
    assert words.report.dropped == dropped
    assert words.report.head_bias == "zero"
    assert head.decoder.weight is words.model.bert.embeddings.word_embeddings.weight
    assert not head.bias.any()
    assert not head.decoder.bias.any()
    assert 0 < head.transform.dense.weight.std() < 0.05


def test_a_pretraining_model_keeps_its_mlm_head_and_drops_the_other(characters: BertTokenizer) -> None:
    report = wordify(build(BertForPreTraining), characters, WORDS).report
    assert (report.fresh_head, report.head_bias) == (False, "source")
    assert report.dropped == ("pooler", "seq_relationship")


@pytest.mark.parametrize("cls", [RobertaModel, RobertaForSequenceClassification])
def test_a_roberta_encoder_gets_a_fresh_head(cls: type[PreTrainedModel], roberta_characters: BertTokenizer) -> None:
    source = roberta(cls)
    words = wordify(source, roberta_characters, ROBERTA_ORDER)
    ids = torch.tensor([[0, 5, 6, 2]])
    assert words.report.fresh_head
    assert torch.equal(states_of(words.model, ids)[-1], states_of(source.base_model, ids)[-1])


def test_an_encoder_of_untied_configuration_still_gets_a_tied_head(characters: BertTokenizer) -> None:
    target = wordify(build(BertModel, tie_word_embeddings=False), characters, WORDS).model
    assert target.cls.predictions.decoder.weight is target.bert.embeddings.word_embeddings.weight


def test_token_counts_make_a_fresh_head_predict_their_frequencies(characters: BertTokenizer) -> None:
    words = wordify(build(BertModel), characters, WORDS, token_counts={"今天": 6, "好": 2, "unknown": 99})
    target = words.model
    with torch.no_grad():
        target.bert.embeddings.word_embeddings.weight.zero_()  # leaves the bias alone to speak
    probabilities = logits_of(target, torch.tensor([[2, 3]])).softmax(-1)[0, 0]
    expected = {"今天": 7, "好": 3}
    for number, token in enumerate(WORDS):
        assert probabilities[number].item() == pytest.approx(expected.get(token, 1) / (8 + len(WORDS)))
    assert words.report.head_bias == "token counts"


def test_a_discriminator_keeps_its_class_and_has_no_mlm_head(characters: BertTokenizer) -> None:
    source = build(ElectraForPreTraining, embedding_size=12)
    words = wordify(source, characters, WORDS)
    assert type(words.model) is ElectraForPreTraining
    assert words.report.head_bias == "none"
    assert torch.equal(
        words.model.get_input_embeddings().weight, expected_rows(source.get_input_embeddings().weight, characters)
    )


# --- the report -----------------------------------------------------------------------------------------------------


def test_the_report_counts_rows_and_parameters(characters: BertTokenizer) -> None:
    source = build(BertForMaskedLM)
    report = wordify(source, characters, WORDS, layers=(1, 2)).report
    assert (report.source, report.target) == ("BertForMaskedLM", "WoBertForMaskedLM")
    assert (report.vocabulary_before, report.vocabulary_after) == (SIZE, len(WORDS))
    assert (report.kept_rows, report.new_rows, report.unknown_tokens) == (10, 5, ("龘",))
    assert (report.layers_before, report.layers) == (4, (1, 2))
    layer = sum(parameter.numel() for parameter in source.bert.encoder.layer[0].parameters())
    assert report.parameters_before == sum(parameter.numel() for parameter in source.parameters())
    assert report.parameters_before - report.parameters_after == 2 * layer + (SIZE - len(WORDS)) * (16 + 1)
    assert report.texts is None


def test_the_report_compares_the_tokenizers(characters: BertTokenizer) -> None:
    # jieba's words, and in brackets the tokens of those that are not one known token:
    # 酒店 不错 ， 龘 | 天气 错 很 今(?) | 今天天气(? 天 天 ?) 很 好 | 酒店 店(?) 鑫(?)
    texts = ["酒店 不错，龘", "天气错很今", "今天天气很好", "酒店店鑫"]
    report = wordify(build(BertForMaskedLM), characters, WORDS, texts=iter(texts)).report.texts
    assert report is not None
    assert (report.texts, report.characters) == (4, 22)
    assert (report.source_tokens, report.word_tokens) == (6 + 5 + 6 + 4, 4 + 4 + 6 + 3)
    assert (report.source_unknown, report.word_unknown) == (2, 5)
    assert (report.words, report.covered_words) == (4 + 4 + 3 + 3, 4 + 3 + 2 + 1)
    assert report.token_ratio == 17 / 21
    assert (report.unknown_rate_before, report.unknown_rate_after) == (2 / 21, 5 / 17)
    assert report.coverage == 10 / 14


def test_the_report_is_json_text_and_rich(characters: BertTokenizer) -> None:
    vocabulary = [*WORDS, "[unused1]", "\u200d"]
    report = wordify(build(BertModel), characters, vocabulary, texts=["今天"]).report
    figures = json.loads(json.dumps(report.to_dict()))
    assert figures["fresh_head"] is True
    assert figures["texts"]["token_ratio"] == 0.5
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report)
    for shown in (str(report), console.export_text()):
        assert "WoBertForMaskedLM" in shown
        assert "fresh" in shown
        assert "龘" in shown
        assert "'\\u200d'" in shown
        assert "0.500" in shown


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (GPT2LMHeadModel, {"n_embd": 16, "n_head": 2, "n_layer": 1}),
        (T5ForConditionalGeneration, {"d_model": 16, "d_kv": 8, "d_ff": 8, "num_heads": 2, "num_layers": 1}),
        (BartForConditionalGeneration, {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1}),
        (BertLMHeadModel, {"is_decoder": True}),
    ],
)
def test_models_of_other_kinds_are_refused(
    cls: type[PreTrainedModel], settings: dict[str, Any], characters: BertTokenizer
) -> None:
    source = cls(cls.config_class(**({"vocab_size": SIZE, "hidden_size": 16, "num_attention_heads": 2} | settings)))
    with pytest.raises(TypeError, match=rf"needs a BERT-like masked LM or encoder .*ALBERT.*got {cls.__name__}"):
        wordify(source, characters, WORDS)


def test_what_is_no_transformers_model_is_refused(characters: BertTokenizer) -> None:
    with pytest.raises(TypeError, match=r"needs a BERT-like masked LM or encoder of transformers .* got Linear"):
        wordify(nn.Linear(2, 2), characters, WORDS)  # type: ignore[arg-type]


def test_columns_of_a_vocabulary_are_carried_over_like_rows(characters: BertTokenizer) -> None:
    # MobileBERT keeps a part of its decoder with a column for each token.
    source = build(MobileBertForMaskedLM, embedding_size=8, intra_bottleneck_size=16, true_hidden_size=16)
    target = wordify(source, characters, WORDS).model
    columns = source.cls.predictions.dense.weight.T
    assert torch.equal(target.cls.predictions.dense.weight.T, expected_rows(columns, characters))


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 2 * SIZE])
def test_a_tokenizer_of_another_model_is_refused(size: int, characters: BertTokenizer) -> None:
    source = build(BertForMaskedLM, vocab_size=size)
    with pytest.raises(ValueError, match=f"the tokenizer has {SIZE} tokens but the model's embedding has {size} rows"):
        wordify(source, characters, WORDS)


def test_a_tokenizer_without_a_special_token_is_refused() -> None:
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate([*SPECIAL, *CHARACTERS])})
    tokenizer.mask_token = None
    with pytest.raises(ValueError, match=r"the tokenizer has no mask_token to become \[MASK\]; set it"):
        wordify(build(BertForMaskedLM), tokenizer, WORDS)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((0, 4), r"has 4; indices of this model run from 0 to 3"),
        ((-1,), r"has -1; indices of this model run from 0 to 3"),
        (("0",), r"has '0'; indices of this model run from 0 to 3"),
        ((), r"is empty; indices of this model run from 0 to 3"),
        ((2, 1), r"must ascend without repeating, e\.g\. \(1, 2\)"),
        ((1, 1, 2), r"must ascend without repeating, e\.g\. \(1, 2\)"),
    ],
)
def test_impossible_layers_are_refused(layers: tuple[Any, ...], message: str, characters: BertTokenizer) -> None:
    with pytest.raises(ValueError, match=message):
        wordify(build(BertForMaskedLM), characters, WORDS, layers=layers)


def test_layers_that_are_shared_cannot_be_chosen(characters: BertTokenizer) -> None:
    with pytest.raises(ValueError, match=r"AlbertForMaskedLM has no single list of 4 layers .*layers=None"):
        wordify(build(AlbertForMaskedLM, embedding_size=12), characters, WORDS, layers=(0,))


@pytest.mark.parametrize(
    ("vocabulary", "error", "message"),
    [
        (WORDS[5:], ValueError, r"lacks \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
        ([*WORDS, "今天"], ValueError, r"vocabulary has '今天' 2 times; every token must stand once"),
        ({"[PAD]": 0, "[UNK]": 2}, ValueError, r"without gaps, but 1 is missing"),
        ("no/such/file", FileNotFoundError, r"no/such/file does not exist"),
    ],
)
def test_broken_vocabularies_are_refused(
    vocabulary: Any, error: type[Exception], message: str, characters: BertTokenizer
) -> None:
    with pytest.raises(error, match=message):
        wordify(build(BertForMaskedLM), characters, vocabulary)


@pytest.mark.parametrize(("given", "message"), [([1.0], "1 weights for '今天'"), ([0.0] * 9, "9 weights for '今天'")])
def test_wrong_weights_are_refused(given: list[float], message: str, characters: BertTokenizer) -> None:
    with pytest.raises(ValueError, match=message):
        wordify(build(BertForMaskedLM), characters, WORDS, piece_weights=lambda word, pieces: given)


@pytest.mark.parametrize("cls", [BertForMaskedLM, ElectraForPreTraining])
def test_token_counts_for_a_head_that_is_not_fresh_are_refused(
    cls: type[PreTrainedModel], characters: BertTokenizer
) -> None:
    with pytest.raises(ValueError, match="token_counts sets the output bias of a fresh MLM head"):
        wordify(build(cls), characters, WORDS, token_counts={"今天": 1})


def test_a_head_that_word_models_cannot_express_is_refused(roberta_characters: BertTokenizer) -> None:
    source = roberta(RobertaForMaskedLM, hidden_act="relu")
    with pytest.raises(ValueError, match=r"hidden_act='relu' but its head always uses 'gelu'.*model\.base_model"):
        wordify(source, roberta_characters, WORDS)
    assert wordify(source.base_model, roberta_characters, WORDS).model.config.hidden_act == "relu"


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("今天", TypeError, r"texts is one str; give a list of texts"),
        ([], ValueError, "texts hold no tokens"),
        (["  "], ValueError, "texts hold no tokens"),
        ([b"x"], TypeError, "text of row 0 must be a str, got bytes"),
    ],
)
def test_texts_that_are_none_are_refused(
    texts: Any, error: type[Exception], message: str, characters: BertTokenizer
) -> None:
    with pytest.raises(error, match=message):
        wordify(build(BertForMaskedLM), characters, WORDS, texts=texts)


# --- real models ----------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_a_real_sentencepiece_encoder_becomes_a_word_model(shared_models: Path, wobert_vocabulary: Path) -> None:
    folder = shared_models / "zh-en-minilm-l12-h384"
    source = BertModel.from_pretrained(folder, add_pooling_layer=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = wordify(
        source, tokenizer, wobert_vocabulary, layers=(0, 4, 8, 11), texts=["酒店的服务态度很好，房间干净。"]
    )
    pieces, ids = tokenizer.get_vocab(), words.tokenizer.get_vocab()
    old, new = source.get_input_embeddings().weight, words.model.get_input_embeddings().weight
    assert (source.dtype, words.model.dtype) == (torch.float16, torch.float32)
    for word, piece in (("酒店", "酒店"), ("[MASK]", "<mask>"), ("，", ","), ("the", "▁the"), ("##ly", "ly")):
        assert torch.equal(new[ids[word]], old[pieces[piece]].float())
    row = pieces["慷"], pieces["慨"]
    assert torch.equal(new[ids["慷慨"]], ((old[row[0]].float() + old[row[1]].float()) / 2).half().float())
    assert words.report.kept_rows + words.report.new_rows + len(words.report.unknown_tokens) == 33_586
    assert words.report.fresh_head


@pytest.mark.shared
def test_a_real_head_still_fills_masks_in_kept_tokens(shared_models: Path) -> None:
    folder = shared_models / "en-bert-tiny-splade"
    source, tokenizer = (
        BertForMaskedLM.from_pretrained(folder, dtype=torch.float32),
        AutoTokenizer.from_pretrained(folder),
    )
    kept = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)[:12_000]
    words = wordify(source, tokenizer, kept)
    text = "the capital of france is [MASK]."
    old_ids = tokenizer(text, return_tensors="pt")
    new_ids = words.tokenizer(text, return_tensors="pt")
    assert new_ids["input_ids"].tolist() == old_ids["input_ids"].tolist()
    with torch.no_grad():
        old, new = source(**old_ids).logits[..., :12_000], words.model(**new_ids).logits
    torch.testing.assert_close(new, old, rtol=1e-5, atol=1e-5)
