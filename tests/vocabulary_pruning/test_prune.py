from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from nlpkit.vocabulary_pruning import IdMap, PrunedVocabulary, complete_tokens, prune_vocabulary
from tests.vocabulary_pruning.small_models import SPECIAL, bert, lines, mt5, mt5_file, qwen

ROOT = Path(__file__).resolve().parents[2]
FAMILIES: dict[str, Callable[[], tuple[PreTrainedModel, Any]]] = {"mt5": mt5, "qwen": qwen, "bert": bert}
each_family = pytest.mark.parametrize("family", FAMILIES)


def some_lines() -> list[str]:
    """Lines that need a part of each vocabulary."""
    return list(lines(30, seed=3))


def pruned(family: str, **options: Any) -> tuple[PreTrainedModel, Any, PrunedVocabulary]:
    model, tokenizer = FAMILIES[family]()
    model = model.double()
    return model, tokenizer, prune_vocabulary(model, tokenizer, corpus=some_lines(), **options)


def batch(tokenizer: Any, texts: list[str], model: PreTrainedModel) -> dict[str, Tensor]:
    rows = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")
    inputs = {name: rows[name] for name in ("input_ids", "attention_mask")}
    return inputs | ({"decoder_input_ids": inputs["input_ids"].clone()} if model.config.is_encoder_decoder else {})


@each_family
def test_no_counted_text_is_cut_otherwise(family: str) -> None:
    _, tokenizer, found = pruned(family)
    assert len(found.tokenizer) < len(tokenizer) - 40
    texts = some_lines()
    old, new = (one(texts)["input_ids"] for one in (tokenizer, found.tokenizer))
    assert [[found.id_map.new_ids[number] for number in row] for row in old] == new
    assert found.report.corpus is not None
    assert (found.report.corpus.changed, found.report.corpus.coverage) == (0, 1.0)


@each_family
def test_states_are_equal_to_the_bit_and_logits_over_kept_ids_equal(family: str) -> None:
    model, tokenizer, found = pruned(family)
    old_batch, new_batch = (batch(one, some_lines()[:6], model) for one in (tokenizer, found.tokenizer))
    with torch.no_grad():
        old = model(**old_batch, output_hidden_states=True)
        new = found.model(**new_batch, output_hidden_states=True)
    names = [name for name in old if name.endswith("hidden_states")]
    assert names
    for name in names:
        assert all(map(torch.equal, old[name], new[name]))
    kept = torch.tensor(found.id_map.kept)
    assert new.logits.shape[-1] == len(kept) == found.model.config.vocab_size
    torch.testing.assert_close(new.logits, old.logits[..., kept], rtol=0, atol=1e-12)
    assert found.report.difference is not None
    assert found.report.difference <= 1e-12


def favour_kept(model: PreTrainedModel, kept: tuple[int, ...]) -> None:
    """Make the head prefer kept ids so much that no other is ever written."""
    head: Any = model.get_output_embeddings()
    with torch.no_grad():
        rest = torch.ones(head.weight.shape[0], dtype=torch.bool)
        rest[list(kept)] = False
        head.weight[rest] = 0
        head.weight[~rest] *= 9


@pytest.mark.parametrize("family", ["mt5", "qwen"])
@pytest.mark.parametrize("beams", [1, 3])
def test_the_same_is_written_greedily_and_with_beams(family: str, beams: int) -> None:
    model, tokenizer = FAMILIES[family]()
    model = model.double()
    texts = some_lines()
    kept = prune_vocabulary(model, tokenizer, corpus=texts).id_map.kept
    favour_kept(model, kept)
    found = prune_vocabulary(model, tokenizer, corpus=texts)
    for number in range(4):
        prompts = [batch(one, texts[number : number + 1], model) for one in (tokenizer, found.tokenizer)]
        settings = {"max_new_tokens": 9, "num_beams": beams, "do_sample": False}
        old, new = (
            one.generate(prompt["input_ids"], attention_mask=prompt["attention_mask"], **settings)[0].tolist()
            for one, prompt in zip((model, found.model), prompts, strict=True)
        )
        assert [kept[number] for number in new] == old


def test_auto_classes_load_it_in_another_process_and_what_was_tied_stays_so(tmp_path: Path) -> None:
    classes = {"mt5": "AutoModelForSeq2SeqLM", "qwen": "AutoModelForCausalLM", "bert": "AutoModelForMaskedLM"}
    expected = {}
    for family in classes:
        model, _, found = pruned(family)
        inputs = batch(found.tokenizer, some_lines()[:4], model)
        found.save(tmp_path / family)
        save_file(inputs, tmp_path / family / "inputs.safetensors")
        with torch.no_grad():
            logits = found.model(**inputs).logits
        expected[family] = family != "mt5", found.tokenizer(some_lines())["input_ids"], logits
    script = (
        "import sys, json, transformers; from safetensors.torch import load_file, save_file\n"
        "for family, name in json.loads(sys.argv[2]).items():\n"
        "    folder = sys.argv[1] + '/' + family\n"
        "    model = getattr(transformers, name).from_pretrained(folder).eval()\n"
        "    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)\n"
        "    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight\n"
        "    logits = model(**load_file(folder + '/inputs.safetensors')).logits.detach()\n"
        "    save_file({'logits': logits.contiguous()}, folder + '/logits.safetensors')\n"
        "    print(json.dumps([tied, tokenizer(json.loads(sys.argv[3]))['input_ids']]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), json.dumps(classes), json.dumps(some_lines())],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for (family, (tied, ids, logits)), line in zip(expected.items(), done.stdout.splitlines(), strict=True):
        assert json.loads(line) == [tied, ids]
        loaded = load_file(tmp_path / family / "logits.safetensors")["logits"]
        torch.testing.assert_close(loaded, logits, rtol=0, atol=1e-12)


@each_family
def test_what_is_tied_is_one_weight_and_the_old_model_stays_as_it_was(family: str) -> None:
    model, _ = FAMILIES[family]()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = model.config.to_dict()
    _, tokenizer = FAMILIES[family]()
    found = prune_vocabulary(model, tokenizer, corpus=some_lines())
    assert model.config.to_dict() == settings
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    head, embedding = found.model.get_output_embeddings(), found.model.get_input_embeddings()
    assert (head.weight is embedding.weight) is (family != "mt5")
    assert embedding.num_embeddings == head.out_features == len(found.id_map.kept)
    assert not {tensor.data_ptr() for tensor in model.parameters()} & {t.data_ptr() for t in found.model.parameters()}


def test_every_id_in_settings_and_chat_template_is_kept() -> None:
    _, tokenizer, found = pruned("qwen")
    generation = found.model.generation_config
    names = found.tokenizer.convert_ids_to_tokens
    assert names(found.model.config.eos_token_id) == SPECIAL[2]
    assert names(generation.eos_token_id) == [SPECIAL[2], SPECIAL[0]]
    assert names(generation.pad_token_id) == SPECIAL[0] == found.tokenizer.pad_token
    chat = [{"role": "user", "content": "1"}]
    old, new = (
        one.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] for one in (tokenizer, found.tokenizer)
    )
    assert [found.id_map.kept[number] for number in new] == old
    assert found.tokenizer.convert_tokens_to_ids("<tool_call>") == len(found.tokenizer) - 1


def test_padding_goes_with_its_id() -> None:
    model, tokenizer = bert()
    model.config.pad_token_id = tokenizer.unk_token_id  # behind an entry that is not kept
    model.get_input_embeddings().padding_idx = tokenizer.unk_token_id
    found = prune_vocabulary(model, tokenizer, corpus=some_lines(), multiple_of=1)
    assert tokenizer.unk_token_id == 2
    assert found.model.get_input_embeddings().padding_idx == found.model.config.pad_token_id == 1


def test_biases_and_buffers_of_other_heads_are_cut_too() -> None:
    _, tokenizer = bert()
    sizes = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    }
    sizes |= {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    ids = {
        "pad_token_id": 0,
        "bos_token_id": 3,
        "eos_token_id": 4,
        "decoder_start_token_id": 4,
        "forced_eos_token_id": 4,
    }
    bart = BartForConditionalGeneration(BartConfig(vocab_size=len(tokenizer), **sizes, **ids)).eval()
    torch.nn.init.normal_(bart.final_logits_bias)
    bart.generation_config.suppress_tokens = list(range(len(tokenizer)))
    found = prune_vocabulary(bart, tokenizer, corpus=some_lines())
    kept = torch.tensor(found.id_map.kept)
    assert torch.equal(found.model.final_logits_bias, bart.final_logits_bias[:, kept])
    assert found.model.generation_config.suppress_tokens == list(range(len(kept)))
    assert found.model.config.decoder_start_token_id == found.id_map.new_ids[4]

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    roberta = RobertaForMaskedLM(RobertaConfig(vocab_size=len(tokenizer), pad_token_id=0, **small)).eval()
    torch.nn.init.normal_(roberta.lm_head.bias)
    head = prune_vocabulary(roberta, tokenizer, corpus=some_lines()).model.lm_head
    assert torch.equal(head.bias, roberta.lm_head.bias[kept])
    classifier = BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), num_labels=len(tokenizer), **small)
    )
    cut = prune_vocabulary(classifier, tokenizer, corpus=some_lines()).model
    assert cut.classifier.out_features == len(tokenizer)


@each_family
def test_expanded_it_is_the_old_model_but_for_what_was_trained(family: str) -> None:
    model, _, found = pruned(family)
    same = found.expand(model)
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert same.config.to_dict() == model.config.to_dict()
    with torch.no_grad():
        found.model.get_input_embeddings().weight += 1
    whole = found.expand(model).get_input_embeddings().weight
    kept = torch.zeros(len(whole), dtype=torch.bool)
    kept[list(found.id_map.kept)] = True
    before = model.get_input_embeddings().weight
    assert torch.equal(whole[~kept], before[~kept])
    torch.testing.assert_close(whole[kept], before[kept] + 1)
    with pytest.raises(ValueError, match="the original model has"):
        found.expand(found.model)


def test_the_sentencepiece_file_is_cut_with_it(tmp_path: Path) -> None:
    model, tokenizer = mt5()
    found = prune_vocabulary(model, tokenizer, corpus=some_lines(), sentencepiece=mt5_file())
    found.save(tmp_path)
    theirs = SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    assert theirs.get_piece_size() == len(found.tokenizer)
    assert [theirs.encode(text) for text in some_lines()] == found.tokenizer(some_lines(), add_special_tokens=False)[
        "input_ids"
    ]
    assert IdMap.load(tmp_path) == found.id_map


@each_family
@pytest.mark.parametrize("options", [{"coverage": 0.8}, {"size": 500}, {"min_count": 3}])
def test_smaller_vocabularies_cut_texts_of_kept_tokens_as_before(family: str, options: dict[str, Any]) -> None:
    if family == "bert" and "size" in options:
        options = {"size": 300}
    _, tokenizer, found = pruned(family, held_out=lines(60, seed=8), **options)
    assert "size" not in options or len(found.id_map.kept) <= options["size"]
    assert "size" in options or len(found.id_map.kept) % 8 == 0
    unknown = tokenizer.unk_token_id if family == "bert" else None
    for text in (piece for line in lines(200, seed=8) for piece in line.split()):
        old = tokenizer(text)["input_ids"]
        if set(old) <= found.id_map.new_ids.keys() and unknown not in old:
            assert [found.id_map.new_ids[number] for number in old] == found.tokenizer(text)["input_ids"]
    held_out = found.report.held_out
    assert held_out is not None
    assert held_out.texts == 60
    assert (held_out.coverage < 1) is (held_out.changed > 0)
    assert held_out.coverage > 0.5


@each_family
def test_ids_to_keep_may_be_given_and_completed(family: str) -> None:
    model, tokenizer = FAMILIES[family]()
    whole = complete_tokens(model, tokenizer, range(min(len(tokenizer), 320)))
    found = prune_vocabulary(model, tokenizer, keep=whole)
    assert list(found.id_map.kept) == whole
    assert prune_vocabulary(model, tokenizer, keep=torch.tensor(whole)).id_map == found.id_map
    rows = model.get_input_embeddings().weight.shape[0]
    if rows > len(tokenizer):  # rows in store
        with_store = prune_vocabulary(model, tokenizer, keep=[*whole, rows - 1])
        assert with_store.model.config.vocab_size == len(whole) + 1 == len(with_store.tokenizer) + 1
