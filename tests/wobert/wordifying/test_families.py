"""Encoders of many families, tiny and random, from ``wordify`` to a fresh process and a step of training."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertTokenizer,
    PreTrainedModel,
    TokenizersBackend,
)

from nlpkit import WoBertTokenizer, wordify
from nlpkit.wobert.wordifying.embedding_surgery import find_pieces

ROOT = Path(__file__).resolve().parents[3]
TEXTS = ["今天天气不错，酒店很好。", "今天酒店不错，天气很好。", "the hotel is good, a hotel near the lake"] * 8
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: 今天, 天气 and 酒店 are new to a character model; the others are pieces of all three kinds of tokenizer.
WORDS = [*SPECIAL, "今天", "很", "天气", "，", "好", "酒店", "a", "不错"]
BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}


def tokenizer_of(kind: str, special: dict[str, str]) -> TokenizersBackend:
    """A tokenizer built or trained on ``TEXTS``, its special tokens first, in the order given."""
    names = list(special.values())
    roles = {f"{role}_token": name for role, name in special.items()}
    if kind == "WordPiece":
        characters = sorted(set("".join(TEXTS)) - {" "})
        tokens = [*names, *characters, *(f"##{letter}" for letter in characters if letter.isascii()), "hotel"]
        return BertTokenizer(vocab={token: at for at, token in enumerate(tokens)}, **roles)
    if kind == "SentencePiece":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        # "," as well: full-width marks are normalised to it
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=60, special_tokens=names, unk_token=special["unk"], initial_alphabet=["，", ","]
        )
        tokenizer.train_from_iterator(TEXTS, trainer)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=320, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
        tokenizer.train_from_iterator(TEXTS, trainer)
    start, end = special["cls"], special["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B:1 {end}:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (start, end)],
    )
    return TokenizersBackend(tokenizer_object=tokenizer, model_max_length=512, **roles)


SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "attention_probs_dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0,
}
DISTIL: dict[str, Any] = {"dim": 16, "hidden_dim": 24, "n_heads": 2, "n_layers": 2, "max_position_embeddings": 40}
GROUPS = [f"{name}_groups" for name in ("q", "k", "v", "post_attention", "intermediate", "output")]

#: Name of a case: model type, tokenizer, special tokens in their order, settings beside ``SMALL``.
FAMILIES: dict[str, tuple[str, str, dict[str, str], dict[str, Any]]] = {
    "ALBERT": ("albert", "SentencePiece", BERT, {"embedding_size": 12}),
    "BERT": ("bert", "WordPiece", BERT, {}),
    "BERT, untied": ("bert", "WordPiece", BERT, {"tie_word_embeddings": False}),
    "BigBird": ("big_bird", "SentencePiece", BERT, {}),
    "CamemBERT": ("camembert", "SentencePiece", ROBERTA, {"type_vocab_size": 1}),
    "ConvBERT": ("convbert", "WordPiece", BERT, {"embedding_size": 16, "head_ratio": 1, "conv_kernel_size": 3}),
    "data2vec": ("data2vec-text", "BPE", ROBERTA, {"type_vocab_size": 1}),
    "DeBERTa": ("deberta", "BPE", BERT, {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "DeBERTa-v2": (
        "deberta-v2",
        "SentencePiece",
        BERT,
        {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["c2p", "p2c"], "share_att_key": True},
    ),
    "DeBERTa-v2, new head": ("deberta-v2", "SentencePiece", BERT, {"legacy": False}),
    "DistilBERT": ("distilbert", "WordPiece", BERT, DISTIL),
    "ELECTRA": ("electra", "WordPiece", BERT, {"embedding_size": 12}),
    "ERNIE": ("ernie", "WordPiece", BERT, {}),
    "EuroBERT": ("eurobert", "BPE", BERT, {"num_key_value_heads": 2, "head_dim": 8}),
    "FNet": ("fnet", "SentencePiece", BERT, {}),
    "Longformer": ("longformer", "BPE", ROBERTA, {"attention_window": [4, 4], "type_vocab_size": 1}),
    "LUKE": ("luke", "BPE", ROBERTA, {"entity_vocab_size": 10, "entity_emb_size": 8, "type_vocab_size": 1}),
    "MegatronBERT": ("megatron-bert", "WordPiece", BERT, {}),
    "MobileBERT": (
        "mobilebert",
        "WordPiece",
        BERT,
        {"embedding_size": 8, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    ),
    "ModernBERT": ("modernbert", "BPE", BERT, {"global_attn_every_n_layers": 2}),
    "Nystromformer": ("nystromformer", "SentencePiece", ROBERTA, {}),
    "RemBERT": ("rembert", "SentencePiece", BERT, {"input_embedding_size": 8, "output_embedding_size": 12}),
    "RoBERTa": ("roberta", "BPE", ROBERTA, {"type_vocab_size": 1}),
    "RoBERTa, norm before": ("roberta-prelayernorm", "BPE", ROBERTA, {}),
    "RoCBert": ("roc_bert", "WordPiece", BERT, {"pronunciation_vocab_size": 9, "shape_vocab_size": 9}),
    "RoFormer": ("roformer", "WordPiece", BERT, {"embedding_size": 12, "rotary_value": True}),
    "SqueezeBERT": (
        "squeezebert",
        "WordPiece",
        BERT,
        {"embedding_size": 16, **dict.fromkeys(GROUPS, 1)},
    ),
    "XLM-R": ("xlm-roberta", "SentencePiece", ROBERTA, {"type_vocab_size": 1}),
    "XLM-R XL": ("xlm-roberta-xl", "SentencePiece", ROBERTA, {"type_vocab_size": 1}),
    "X-MOD": ("xmod", "SentencePiece", ROBERTA, {"languages": ["en", "zh"], "default_language": "zh"}),
    "YOSO": ("yoso", "SentencePiece", ROBERTA, {}),
}
every_family = pytest.mark.parametrize("family", FAMILIES)


def family_of(name: str) -> tuple[PreTrainedModel, TokenizersBackend]:
    """A model with random numbers everywhere, in fp64, and its tokenizer; the vocabulary is padded by some rows."""
    return build(*FAMILIES[name])


def build(
    model_type: str, kind: str, special: dict[str, str], settings: dict[str, Any]
) -> tuple[PreTrainedModel, TokenizersBackend]:
    tokenizer = tokenizer_of(kind, special)
    ids = {f"{role}_token_id": tokenizer.convert_tokens_to_ids(token) for role, token in special.items()}
    ids |= {"bos_token_id": ids["cls_token_id"], "eos_token_id": ids["sep_token_id"]}
    rows = -(-len(tokenizer) // 8) * 8
    small = settings if settings is DISTIL else SMALL | settings
    config = AutoConfig.for_model(model_type, **small, **ids, vocab_size=rows)
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.double(), tokenizer


def logits_of(model: PreTrainedModel, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=mask).logits


@every_family
def test_kept_tokens_have_the_logits_they_had(family: str) -> None:
    source, tokenizer = family_of(family)
    words = wordify(source, tokenizer, WORDS)
    pieces = find_pieces(words.tokenizer.get_vocab(), tokenizer)
    new = [number for number, row in enumerate(pieces) if len(row) == 1]
    old = [pieces[number][0] for number in new]
    assert len(new) > 8
    inside = [number for number in new if WORDS[number] not in ("[PAD]", "[CLS]", "[SEP]")]
    texts = [[2, *inside, *inside[::-1], *inside[:3], 3], [2, *inside, 3, *inside[::-1], 3], [2, *inside, 3]]
    for batch in (texts[:1], texts[1:2], texts):  # the last is padded
        read = [
            reading(model, batch, ids, pad)
            for model, batch, ids, pad in (
                (source, [[pieces[number][0] for number in text] for text in batch], old, tokenizer.pad_token_id),
                (words.model, batch, new, words.tokenizer.pad_token_id),
            )
        ]
        assert read[0].std() > 0.01
        torch.testing.assert_close(read[1], read[0], rtol=0, atol=1e-10 * read[0].abs().max().item())


def reading(model: PreTrainedModel, texts: list[list[int]], ids: list[int], pad: int) -> Tensor:
    """Logits over some ids at the tokens of texts."""
    rows = nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], True, pad)  # (texts, length)
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(text)) for text in texts], True)
    return logits_of(model, rows, mask.long() if len(texts) > 1 else None)[mask.bool()][:, ids]


@every_family
def test_word_models_load_by_the_auto_classes_and_train(family: str, tmp_path: Path) -> None:
    words = wordify(*family_of(family), WORDS)
    save(words.model, words.tokenizer, tmp_path / "words")
    model, tokenizer = load(tmp_path / "words")
    assert type(tokenizer) is WoBertTokenizer
    assert type(model) is type(words.model)
    batch = tokenizer("天气很好", "酒店不错，好", return_tensors="pt")
    before = logits_of(model, batch["input_ids"])
    torch.testing.assert_close(before, logits_of(words.model, batch["input_ids"]), rtol=0, atol=1e-10)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3)
    model(**batch, labels=batch["input_ids"]).loss.backward()
    optimizer.step()
    save(model, tokenizer, tmp_path / "trained")
    again, tokenizer = load(tmp_path / "trained")
    after = logits_of(again, batch["input_ids"])
    torch.testing.assert_close(after, logits_of(model, batch["input_ids"]), rtol=0, atol=1e-10)
    assert (after - before).abs().max() > 1e-6
    assert tokenizer.tokenize("酒店天气很好，不错") == ["酒店", "天气", "很", "好", "，", "不错"]


def save(model: PreTrainedModel, tokenizer: WoBertTokenizer, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load(folder: Path) -> tuple[PreTrainedModel, WoBertTokenizer]:
    return AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


IN_A_FRESH_PROCESS = """
import sys
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, pipeline
import nlpkit

for folder in sys.argv[1:]:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder)
    assert type(tokenizer) is nlpkit.WoBertTokenizer, (folder, type(tokenizer))
    with torch.no_grad():
        torch.save(model(**tokenizer("天气很[MASK]，酒店不错", return_tensors="pt")).logits, f"{folder}/logits.pt")
    assert AutoModel.from_pretrained(folder).get_input_embeddings().num_embeddings == len(tokenizer), folder
    filled = pipeline("fill-mask", model=folder)("天气很[MASK]。")
    assert {answer["token_str"] for answer in filled} <= set(tokenizer.get_vocab()), filled
"""


@pytest.mark.slow
def test_word_models_of_all_families_load_and_fill_masks_in_a_fresh_process(tmp_path: Path) -> None:
    check_in_a_fresh_process(list(FAMILIES), tmp_path)


def test_word_models_load_and_fill_masks_in_a_fresh_process(tmp_path: Path) -> None:
    check_in_a_fresh_process(["ModernBERT", "RoBERTa"], tmp_path)


def check_in_a_fresh_process(families: list[str], folder: Path) -> None:
    models = {name: wordify(*family_of(name), WORDS) for name in families}
    for name, words in models.items():
        save(words.model, words.tokenizer, folder / name)
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, *(str(folder / name) for name in families)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, words in models.items():
        ids = words.tokenizer("天气很[MASK]，酒店不错", return_tensors="pt")["input_ids"]
        fresh = torch.load(folder / name / "logits.pt")
        torch.testing.assert_close(fresh, logits_of(words.model, ids), rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", ["ModernBERT", "EuroBERT"])
def test_whoever_trusts_remote_code_gets_the_same_tokenizer(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    words = wordify(*family_of(family), WORDS)
    save(words.model, words.tokenizer, tmp_path / "words")
    trusted = AutoTokenizer.from_pretrained(tmp_path / "words", trust_remote_code=True)
    assert type(trusted) is WoBertTokenizer
    trusted.save_pretrained(tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "tokenizer_config.json",
        "vocab.txt",
        "wobert_tokenizer.py",
    ]
    assert type(AutoTokenizer.from_pretrained(tmp_path / "again")) is WoBertTokenizer


# --- padding ids ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["Longformer", "X-MOD", "LUKE", "XLM-R XL", "data2vec"])
@pytest.mark.parametrize("place", [0, 1, 2, 7])
def test_positions_stay_wherever_padding_goes(family: str, place: int) -> None:
    vocabulary = WORDS[1:]
    vocabulary.insert(place, "[PAD]")
    source, tokenizer = family_of(family)
    words = wordify(source, tokenizer, vocabulary)
    pieces = find_pieces(words.tokenizer.get_vocab(), tokenizer)
    room = 38
    assert words.tokenizer.model_max_length == room
    assert words.model.config.max_position_embeddings == room + place + 1
    kept = words.tokenizer.convert_tokens_to_ids("很")
    (piece,) = pieces[kept]
    start, end = words.tokenizer.cls_token_id, words.tokenizer.sep_token_id
    for length in (room, 5):
        text = [start, *[kept] * (length - 2), end]
        before = reading(source, [[pieces[number][0] for number in text]], [piece], tokenizer.pad_token_id)
        after = reading(words.model, [text], [kept], place)
        torch.testing.assert_close(after, before, rtol=0, atol=1e-10 * before.abs().max().item())


def test_a_model_that_holds_on_to_its_padding_id_is_refused_until_it_gets_it() -> None:
    source, tokenizer = build("mpnet", "WordPiece", ROBERTA, {})
    with pytest.raises(ValueError, match=r"MPNetForMaskedLM .* differ by .*: it may take id 1 .* give \[PAD\] that"):
        wordify(source, tokenizer, WORDS)
    words = wordify(source, tokenizer, ["[UNK]", "[PAD]", *WORDS[2:]])
    pieces = find_pieces(words.tokenizer.get_vocab(), tokenizer)
    kept = [number for number, row in enumerate(pieces) if len(row) == 1]
    texts = [[2, 0, 6, 9, 4, 3], [2, 8, 3]]
    old_texts = [[pieces[number][0] for number in text] for text in texts]
    before = reading(source, old_texts, [pieces[number][0] for number in kept], tokenizer.pad_token_id)
    after = reading(words.model, texts, kept, 1)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-10 * before.abs().max().item())


def test_a_model_that_does_not_run_on_ids_alone_is_refused_with_its_own_words() -> None:
    source, tokenizer = build("xmod", "SentencePiece", ROBERTA, {"languages": ["en", "zh"]})
    with pytest.raises(ValueError, match=r"XmodForMaskedLM fails on input_ids and attention_mask alone: .*language"):
        wordify(source, tokenizer, WORDS)


@pytest.mark.parametrize("family", ["BigBird", "Longformer", "ModernBERT", "DistilBERT"])
def test_the_source_is_left_as_it_was_by_being_looked_at(family: str) -> None:
    source, tokenizer = family_of(family)
    source.train()
    state, config = copy.deepcopy(source.state_dict()), source.config.to_dict()
    wordify(source, tokenizer, WORDS)
    assert source.config.to_dict() == config
    assert all(module.training for module in source.modules())
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in state.items())


# --- layers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "where"),
    [
        ("Longformer", "encoder.layer"),
        ("RoFormer", "encoder.layer"),
        ("DeBERTa-v2", "encoder.layer"),
        ("EuroBERT", "layers"),
        ("LUKE", "encoder.layer"),
        ("DistilBERT", "transformer.layer"),
    ],
)
def test_chosen_layers_are_those_of_the_source_cut_by_hand(family: str, where: str) -> None:
    source, tokenizer = family_of(family)
    cut = copy.deepcopy(source)
    cut.base_model.set_submodule(where, nn.ModuleList([cut.base_model.get_submodule(where)[1]]))
    cut.config.num_hidden_layers = 1
    words = wordify(source, tokenizer, WORDS, layers=(1,))
    assert words.model.config.num_hidden_layers == 1
    pieces = find_pieces(words.tokenizer.get_vocab(), tokenizer)
    text = [2, 6, 9, 4, 3]
    before = reading(cut, [[pieces[number][0] for number in text]], [pieces[9][0]], tokenizer.pad_token_id)
    after = reading(words.model, [text], [9], words.tokenizer.pad_token_id)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-10 * before.abs().max().item())


def test_layers_that_would_become_others_are_refused() -> None:
    # ModernBERT's first layer has no norm before its attention: as the first, no other layer would be what it was.
    with pytest.raises(ValueError, match=r"ModernBertForMaskedLM would no longer read .* leave layers=None"):
        wordify(*family_of("ModernBERT"), WORDS, layers=(1,))
