"""Modules that are trained beside a ladder are trained, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, get_ladder_model
from tests.ladder_side_tuning.families_and_heads import make
from tests.ladder_side_tuning.small_models import narrow, small_batch, small_labels, small_model

REFUSED = [
    ("BERT", "texts", "bert.embeddings.word_embeddings"),
    ("BERT", "texts", "bert.embeddings"),
    ("BERT", "texts", "bert.encoder.layer.3"),
    ("BERT", "texts", "bert.encoder.layer"),
    ("BERT", "texts", "bert.encoder"),
    ("BERT", "texts", "bert"),
    ("ELECTRA", "tokens", "electra.embeddings_project"),
    ("DeBERTa-v2", "texts", "deberta.encoder.rel_embeddings"),
    ("MPNet", "texts", "mpnet.encoder.relative_attention_bias"),
    ("T5", "seq2seq LM", "shared"),
    ("T5", "seq2seq LM", "decoder.final_layer_norm"),
    ("BART", "texts", "model.decoder.embed_positions"),
    ("GPT-2", "causal LM", "transformer.wte"),
    ("Llama", "causal LM", "model.embed_tokens"),
    ("Llama", "bare", "norm"),
    ("OPT", "causal LM", "model.decoder.project_in"),
]


@pytest.mark.parametrize(("family", "head", "name"), REFUSED)
def test_modules_that_gradients_do_not_reach_are_refused(family: str, head: str, name: str) -> None:
    model = make(family, head)
    with pytest.raises(ValueError, match=f"modules_to_save names '{name}', which .* would be saved and never trained"):
        get_ladder_model(model, LadderConfig(reduction=2, modules_to_save=[name]))
    assert all(parameter.requires_grad for parameter in model.parameters() if parameter.is_leaf)


@pytest.mark.parametrize(
    ("family", "head", "name"),
    [
        ("BERT", "texts", "bert.pooler"),
        ("BERT", "masked LM", "cls"),
        ("RoBERTa", "masked LM", "lm_head"),
        ("T5", "seq2seq LM", "lm_head"),
        ("GPT-2", "causal LM", "lm_head"),
        ("Llama", "causal LM", "lm_head"),
        ("MPNet", "texts", "classifier.dense"),
    ],
)
def test_modules_behind_the_blocks_are_trained_and_leave_the_taps_as_they_are(
    family: str, head: str, name: str, tmp_path: Path
) -> None:
    """Also heads that were tied to the embeddings: the copy is their own."""
    model = make(family, head)
    ladder: Any = get_ladder_model(model, LadderConfig(reduction=2, modules_to_save=[name])).train()
    batch = small_batch(model)
    taps = ladder.tap(**batch)
    optimizer = torch.optim.SGD([p for p in ladder.parameters() if p.requires_grad], lr=0.1)
    ladder(**batch, **small_labels(model, batch)).loss.backward()
    optimizer.step()
    assert all(parameter.grad is not None for parameter in ladder.get_submodule(name).parameters())
    for stack, found in ladder.tap(**batch).items():
        assert all(torch.equal(tap, taps[stack][layer]) for layer, tap in found.items())
    expected = ladder.eval()(**batch).logits
    ladder.tie_weights()  # as the Trainer does when it resumes
    assert torch.equal(ladder(**batch).logits, expected)
    ladder.save_pretrained(tmp_path)
    again = LadderModel.from_pretrained(make(family, head), tmp_path)
    assert torch.equal(again(**batch).logits, expected)


@pytest.mark.parametrize("name", ["bert-sequence", "gpt2", "t5"])
def test_lora_in_the_frozen_backbone_is_refused_when_training_begins(name: str) -> None:
    """PEFT puts adapters into any model; those below a side network would be counted, and never trained."""
    tuned = get_peft_model(narrow(name), LoraConfig(target_modules="all-linear"))
    with pytest.raises(ValueError, match=r"lora_A.* wants a gradient, but is in a ladder's frozen backbone"):
        tuned.train()


@pytest.mark.parametrize("part", ["get_input_embeddings", "base_model"])
def test_weights_that_were_made_trainable_below_a_ladder_are_refused(part: str) -> None:
    ladder = narrow("bert-sequence").train()
    found = getattr(ladder, part)
    (found if isinstance(found, torch.nn.Module) else found()).requires_grad_(True)
    with pytest.raises(ValueError, match=r"bert\.embeddings\.\S+ wants a gradient.*requires_grad_\(False\)"):
        ladder.train()
    ladder.eval()


def test_lora_that_was_merged_has_a_ladder() -> None:
    model = get_peft_model(small_model("bert-sequence"), LoraConfig(target_modules=["query"]))
    with pytest.raises(TypeError, match=r"not a PeftModel; give model\.merge_and_unload\(\), which has the adapters"):
        get_ladder_model(model)  # type: ignore[arg-type]
    ladder = get_ladder_model(model.merge_and_unload(), LadderConfig(reduction=2, layers=2))
    batch = small_batch(ladder)
    ladder.train()(**batch, **small_labels(ladder, batch)).loss.backward()


def test_parameters_are_counted_in_pefts_words(capsys: pytest.CaptureFixture[str]) -> None:
    ladder = narrow("bert-sequence")
    ladder.print_trainable_parameters()
    trained = sum(parameter.numel() for parameter in ladder.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in ladder.parameters())
    expected = f"trainable params: {trained:,d} || all params: {total:,d} || trainable%: {100 * trained / total:.4f}\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("name", ["bert-sequence", "llama", "t5"])
def test_a_compiled_ladder_answers_and_learns_as_it_did(name: str) -> None:
    """Traced whole, without a break; the code that a compiler makes of it is the compiler's business."""
    ladder = narrow(name, dropout=0.0).eval()
    batch = small_batch(ladder) | small_labels(ladder, small_batch(ladder))
    if ladder.config.is_encoder_decoder:
        batch.pop("decoder_input_ids", None)
    batch["use_cache"] = False
    if name == "bert-sequence":
        del batch["use_cache"]
    expected = ladder(**batch)
    expected.loss.backward()
    gradients = {key: p.grad.clone() for key, p in ladder.named_parameters() if p.grad is not None}
    ladder.zero_grad()
    compiled: Any = torch.compile(ladder, backend="aot_eager", fullgraph=name != "t5")
    for _ in range(2):
        found = compiled(**batch)
        torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-5)
    found.loss.backward()
    for key, gradient in gradients.items():
        torch.testing.assert_close(ladder.get_parameter(key).grad, gradient, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ladder(**batch).logits, expected.logits, rtol=0, atol=1e-6)  # and still without


def test_a_compiled_ladder_reads_its_cache(tmp_path: Path) -> None:
    ladder = narrow("bert-sequence").eval()
    batch = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3).long()}
    expected = ladder(**batch).logits
    rows = [{"input_ids": [5, 6, 7]}]
    ladder.use_tap_cache(ladder.cache_taps(rows, tmp_path, lambda _: batch, dtype="float32", show_progress=False))
    compiled: Any = torch.compile(ladder, backend="eager")
    torch.testing.assert_close(compiled(**batch).logits, expected)


def test_hidden_states_of_a_compiled_ladder_are_the_backbones() -> None:
    model = small_model("bert-bare")
    ladder = get_ladder_model(model, LadderConfig(reduction=2)).eval()
    batch = small_batch(model)
    expected = ladder(**batch, output_hidden_states=True).hidden_states
    compiled: Any = torch.compile(ladder, backend="eager")
    found = compiled(**batch, output_hidden_states=True).hidden_states
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
