"""Evaluation from sums against a plain loop over tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import EvalPrediction, TrainingArguments

from nlpkit.data.masking import MaskedTokenCollator
from nlpkit.data.mixture import number_for_evaluation
from nlpkit.training.domain_metrics import metrics_by_domain, sums_by_row
from nlpkit.training.masked_lm import MaskedLMTrainer
from nlpkit.wobert.modeling import WoBertForMaskedLM
from tests.data.written_corpus import save_start_model, tokenizer


def test_sums_are_those_of_a_loop_over_tokens():
    generator = torch.Generator().manual_seed(0)
    labels = torch.full((4, 6), -100)
    labels[0, 2], labels[2, 1], labels[2, 5] = 3, 0, 4
    logits = torch.randn(3, 7, generator=generator, dtype=torch.float64)
    logits[1, 0] = 9.0
    expected = [[0.0, 0, 0] for _ in range(4)]
    for (row, target), scores in zip([(0, 3), (2, 0), (2, 4)], logits.tolist(), strict=True):
        expected[row][0] += math.log(sum(map(math.exp, scores))) - scores[target]
        expected[row][1] += scores.index(max(scores)) == target
        expected[row][2] += 1
    np.testing.assert_allclose(sums_by_row(logits, labels), expected, rtol=1e-6)


def test_metrics_weigh_tokens_not_rows():
    sums = np.array([[6.0, 1, 2], [1.0, 1, 1], [9.0, 0, 1]])
    found = metrics_by_domain(EvalPrediction(sums, np.array([0, 0, 2])), ["law", "news", "web"])
    assert found == {
        "loss": 4.0,
        "accuracy": 0.5,
        "targets": 4,
        "loss_law": 7 / 3,
        "accuracy_law": 2 / 3,
        "targets_law": 3,
        "loss_web": 9.0,
        "accuracy_web": 0.0,
        "targets_web": 1,
    }


@pytest.mark.parametrize("sparse", [True, False])
def test_evaluation_equals_scoring_row_by_row(tmp_path, sparse):
    model = WoBertForMaskedLM.from_pretrained(save_start_model(tmp_path / "model")).double()
    model.config.sparse_prediction = sparse
    generator = np.random.default_rng(0)
    rows = number_for_evaluation(
        {"input_ids": generator.integers(5, 90, size=length), "domain": length % 2} for length in (9, 30, 14, 30, 21)
    )
    collate = MaskedTokenCollator(tokenizer(), mask_probability=0.3)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, per_device_eval_batch_size=2)
    trainer = MaskedLMTrainer(
        model=model, args=arguments, data_collator=collate, eval_dataset=rows, domain_names=["even", "odd"]
    )
    found = trainer.evaluate()

    losses, hits, domains = [], [], []
    model.config.sparse_prediction = False
    model.eval()
    for row in rows:
        batch = collate([row])
        scores = model(input_ids=batch["input_ids"]).logits[0].log_softmax(dim=-1)
        for place in (batch["labels"][0] != -100).nonzero()[:, 0].tolist():
            target = batch["labels"][0, place]
            losses.append(-scores[place, target].item())
            hits.append(scores[place].argmax().item() == target)
            domains.append(row["domain"])
    for name, chosen in [("", [0, 1]), ("_even", [0]), ("_odd", [1])]:
        mine = [loss for loss, domain in zip(losses, domains, strict=True) if domain in chosen]
        right = [hit for hit, domain in zip(hits, domains, strict=True) if domain in chosen]
        assert found[f"eval_loss{name}"] == pytest.approx(np.mean(mine), rel=1e-5)
        assert found[f"eval_accuracy{name}"] == pytest.approx(np.mean(right))
        assert found[f"eval_targets{name}"] == len(mine)


def test_fp16_weights_are_not_trained(tmp_path):
    model = WoBertForMaskedLM.from_pretrained(save_start_model(tmp_path / "model"), dtype="float16")
    trainer = MaskedLMTrainer(
        model=model, args=TrainingArguments(str(tmp_path), use_cpu=True), train_dataset=[], domain_names=[]
    )
    with pytest.raises(
        ValueError, match=r"cannot be trained in float16.*from_pretrained\(folder, dtype=\"float32\"\)"
    ):
        trainer.train()


def test_it_trains_under_the_trainers_own_defaults_on_rows_that_name_their_domain(tmp_path):
    rows = number_for_evaluation({"input_ids": np.arange(5, 20), "domain": number % 2} for number in range(8))
    trainer = MaskedLMTrainer(
        model=WoBertForMaskedLM.from_pretrained(save_start_model(tmp_path / "model")),
        args=TrainingArguments(str(tmp_path / "run")),
        data_collator=MaskedTokenCollator(tokenizer()),
        train_dataset=rows,
        domain_names=["even", "odd"],
    )
    assert trainer.train().global_step == 3
