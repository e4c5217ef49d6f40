"""Teach a model entailment, which EFL starts from: does the first text entail the second?

Source: *Entailment as few-shot learner* (Wang et al., 2021, arXiv 2104.14690, section 3): the model is trained on
pairs of inference first, then on a few examples rewritten as such pairs.

    python recipes/ladder_data.py ocnli $NLPKIT_DATA/clue/ocnli data/ocnli
    python recipes/entailment.py recipes/configs/entailment/ocnli.yaml

Files hold a JSON object per line with ``text``, ``text_pair`` and ``label``. The result has one output, the logarithm
of the odds of entailment; FewCLUE's EFL takes it by ``entailment_model: FOLDER`` in a task's settings. Call it again
after an interruption: it goes on from its last checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    TrainingArguments,
    set_seed,
)

from nlpkit.files import SAVED_MODEL, whole_folder, write_json
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    RefuseDivergence,
    last_complete_checkpoint,
    parse_recipe_arguments,
    run_recipe,
    settle_facts,
    train_from_last_checkpoint,
    training_facts,
)
from nlpkit.sources import find_model
from nlpkit.text_files import read_records
from nlpkit.training import TechniqueTrainer


@dataclass
class EntailmentTrainingArguments(FineTuningDefaults, TrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/entailment"
    num_train_epochs: float = 4.0
    per_device_train_batch_size: int = 32
    learning_rate: float = 2e-4
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 2
    load_best_model_at_end: bool = True
    metric_for_best_model: str | None = "accuracy"
    train_sampling_strategy: str = "group_by_length"


@dataclass
class EntailmentArguments:
    """What to train on what."""

    train_file: str = field(metadata={"help": "JSON lines with text, text_pair and label"})
    dev_file: str
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped model, or repository on the Hub"})
    entailed: str = field(default="entailment", metadata={"help": "the label of pairs whose first text entails"})
    max_length: int = 64


def main(argv: list[str]) -> dict[str, float]:
    """Run the recipe and return what ``results.json`` holds."""
    settings, args = parse_recipe_arguments([EntailmentArguments, EntailmentTrainingArguments], argv)
    output = Path(args.output_dir)
    begins = last_complete_checkpoint(output) is None
    settle_facts(output / "run.json", asdict(settings) | training_facts(args), begins=begins)
    set_seed(args.seed)
    source = find_model(settings.model)
    tokenizer = AutoTokenizer.from_pretrained(source)
    # One output with binary cross-entropy, which transformers names after the case of several labels.
    model = AutoModelForSequenceClassification.from_pretrained(
        source, num_labels=1, problem_type="multi_label_classification", dtype=torch.float32
    )
    trainer = TechniqueTrainer(
        model=model,
        args=args,
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=read_pairs(settings.train_file, tokenizer, settings),
        eval_dataset=read_pairs(settings.dev_file, tokenizer, settings),
        compute_metrics=scores,
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
    )
    train_from_last_checkpoint(trainer)
    found = trainer.evaluate()
    results = {name: found[f"eval_{name}"] for name in ("accuracy", "always_one_answer", "loss")}
    if args.process_index == 0:
        with whole_folder(output / "model", replacing=SAVED_MODEL) as draft:
            model.save_pretrained(draft)
            tokenizer.save_pretrained(draft)
            write_json(draft / "results.json", results)
    print(json.dumps(results, indent=1))
    return results


def read_pairs(file: str, tokenizer: Any, settings: EntailmentArguments) -> list[dict[str, Any]]:
    """Tokenized pairs with 1.0 for entailment and 0.0 for anything else.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a record with the three fields, or no pair of the file is entailed.
    """
    rows = []
    for number, row in read_records(file):
        try:
            pair, label = (row["text"], row["text_pair"]), row["label"]
        except KeyError as error:
            raise ValueError(f"{file}, line {number}: need text, text_pair and label; there is no {error}") from error
        encoded = tokenizer(*pair, truncation=True, max_length=settings.max_length)
        rows.append({**encoded, "labels": [float(label == settings.entailed)]})
    if not any(row["labels"][0] for row in rows):
        raise ValueError(f"no pair of {file} has the label {settings.entailed!r}; name the right one by --entailed")
    return rows


def scores(prediction: EvalPrediction) -> dict[str, float]:
    """Accuracy, and that of giving the more frequent answer always."""
    truth = prediction.label_ids[:, 0] > 0.5  # type: ignore[call-overload]
    said = prediction.predictions[:, 0] > 0  # type: ignore[call-overload]
    return {
        "accuracy": float((said == truth).mean()),
        "always_one_answer": float(max(truth.mean(), 1 - truth.mean())),
    }


if __name__ == "__main__":
    run_recipe(main)
