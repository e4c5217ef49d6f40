"""Titles from texts by WoBERT and UniLM, with one token per word or one per character.

    python recipes/title_generation.py recipes/configs/title_generation/csl.yaml
    nlpkit generate --model runs/title_generation/csl/word-0/model --beams 3 --file abstracts.txt

Source: kexue.fm/archives/6933 (UniLM), 7758 (words against characters). Each kind of token is trained with the same
seeds; after each epoch the dev part is written greedily, and the epoch of the best BLEU is kept; then the test part is
written once for each number of beams. Files are JSON lines or ``.csv`` with ``source`` and ``target``, or what the
settings call them, or ``.tsv`` without a head, whose columns ``columns`` names. Call it again after an interruption:
finished runs are kept, and the current one goes on from its last epoch. ``output_dir`` gets ``results.json``,
``table.md`` and, per run, the texts that were written.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerBase, TrainingArguments, set_seed

from nlpkit import TechniqueTrainer, UniLmCollator, UniLmForSequenceToSequence, WoBertTokenizer, generate_texts
from nlpkit.data import Pair, read_pairs
from nlpkit.files import only_writer, read_json, write_json, write_text
from nlpkit.losses import ChunkedCrossEntropyLoss
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    RefuseDivergence,
    arm_table,
    parse_recipe_arguments,
    run_recipe,
    settle_facts,
    train_from_last_checkpoint,
    training_facts,
)
from nlpkit.seq2seq import character_scores
from nlpkit.sources import find_model
from nlpkit.training import fast_attention


@dataclass
class TitleTrainingArguments(FineTuningDefaults, TrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/title_generation"
    num_train_epochs: float = 20.0
    per_device_train_batch_size: int = 16
    per_device_eval_batch_size: int = 16
    learning_rate: float = 2e-4
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 1
    load_best_model_at_end: bool = True
    metric_for_best_model: str | None = "bleu"
    greater_is_better: bool | None = True


@dataclass
class TitleArguments:
    """What to write, and with what."""

    train_file: str = field(metadata={"help": "JSON lines or .tsv"})
    test_file: str
    dev_file: str | None = field(default=None, metadata={"help": "without one, the last rows of train_file"})
    dev_rows: int = field(default=200, metadata={"help": "of dev_file the first; without one, so many of train_file"})
    source: str = field(default="source", metadata={"help": "the column of the texts to read"})
    target: str = field(default="target", metadata={"help": "the column of the titles"})
    columns: list[str] = field(
        default_factory=lambda: ["source", "target"],
        metadata={"help": "the names of those of a .tsv file, which has no head, in their order"},
    )
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped name, or Hub repository"})
    tokenizer: list[str] = field(default_factory=lambda: ["word"], metadata={"help": "word, character, or both"})
    max_source_length: int = field(default=256, metadata={"help": "tokens; ends of longer sources are dropped"})
    max_target_length: int = field(default=32, metadata={"help": "tokens, likewise"})
    beams: list[int] = field(default_factory=lambda: [1, 3], metadata={"help": "numbers of beams for the test part"})
    max_train_rows: int | None = None
    max_test_rows: int | None = None
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "one run each"})


class TitleTrainer(TechniqueTrainer):
    """Evaluates by what is written greedily, beside the loss."""

    title_settings: TitleArguments

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The loss, ROUGE and BLEU."""
        metrics: dict[str, float] = super().evaluate(*args, **kwargs)
        pairs: Any = self.eval_dataset
        written = write(self, pairs, self.title_settings, beams=1)
        scores = character_scores(written, [pair["target"] for pair in pairs])
        scores = {f"eval_{name}": score for name, score in scores.items()}
        self.log(scores)
        return metrics | scores


def main(argv: list[str]) -> dict[str, Any]:
    """Run the recipe and return what ``results.json`` holds."""
    settings, args = parse_recipe_arguments([TitleArguments, TitleTrainingArguments], argv)
    if unknown := sorted(set(settings.tokenizer) - {"word", "character"}):
        raise ValueError(f"tokenizer={unknown[0]} is unknown; give word, character, or both")
    output = Path(args.output_dir)
    with only_writer(output):
        facts = asdict(settings) | {"seeds": [], "tokenizer": []} | training_facts(args)
        settle_facts(output / "run.json", facts, begins=not any(output.glob("*-*/result.json")))
        parts = read_parts(settings)
        folder = find_model(settings.model)
        runs = [
            run_once(kind, seed, folder, parts, settings, args)
            for kind in settings.tokenizer
            for seed in settings.seeds
        ]
        results = {
            "settings": vars(settings),
            "rows": {name: len(part) for name, part in parts.items()},
            "runs": runs,
            **{kind: summarise([run for run in runs if run["arm"] == kind]) for kind in settings.tokenizer},
        }
        write_json(output / "results.json", results)
        write_text(output / "table.md", table(runs, settings))
    return results


def read_parts(settings: TitleArguments) -> dict[str, list[Pair]]:
    """The pairs of each part."""
    read = partial(read_pairs, columns=settings.columns, source=settings.source, target=settings.target)
    train = read(settings.train_file)
    test = read(settings.test_file)[: settings.max_test_rows]
    if settings.dev_file is not None:
        dev = read(settings.dev_file)[: settings.dev_rows]
    else:
        if not 0 < settings.dev_rows < len(train):
            raise ValueError(
                f"dev_rows={settings.dev_rows} of {len(train)} rows leave none to train on; give fewer, or dev_file"
            )
        train, dev = train[: -settings.dev_rows], train[-settings.dev_rows :]
    return {"train": train[: settings.max_train_rows], "dev": dev, "test": test}


def open_tokenizer(kind: str, folder: str) -> PreTrainedTokenizerBase:
    """The model's own, or one that cuts its vocabulary's Chinese into characters."""
    own: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    if kind == "word":
        if not isinstance(own, WoBertTokenizer):
            raise ValueError(f"{folder} holds a {type(own).__name__}, which knows no words; give tokenizer=character")
        return own
    return BertTokenizer(own.get_vocab(), model_max_length=own.model_max_length) if kind == "character" else own


def run_once(
    kind: str,
    seed: int,
    folder: str,
    parts: dict[str, list[Pair]],
    settings: TitleArguments,
    args: TitleTrainingArguments,
) -> dict[str, Any]:
    """Train and score one run, or read the scores of one that had finished."""
    output = Path(args.output_dir) / f"{kind}-{seed}"
    if (output / "result.json").is_file():
        return dict(read_json(output / "result.json"))
    set_seed(seed)
    tokenizer = open_tokenizer(kind, folder)
    model = UniLmForSequenceToSequence.from_pretrained(folder, dtype=torch.float32)
    model.use_tokens_of(tokenizer)
    collator = UniLmCollator(
        tokenizer,
        max_source_length=settings.max_source_length,
        max_target_length=settings.max_target_length,
        overlong="truncate",
    )
    trainer = TitleTrainer(
        model,
        replace(args, seed=seed, output_dir=str(output)),
        data_collator=collator,
        train_dataset=parts["train"],
        eval_dataset=parts["dev"],
        processing_class=tokenizer,
        loss=ChunkedCrossEntropyLoss(model, shift=True),
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
    )
    trainer.title_settings = settings
    with fast_attention(model):
        train_from_last_checkpoint(trainer)
    trainer.save_model(str(output / "model"))
    result: dict[str, Any] = {
        "arm": kind,
        "seed": seed,
        "steps": trainer.state.max_steps,
        "passes": 1,
        "best_step": trainer.state.best_global_step,
        "dev_bleu": trainer.state.best_metric,
        "tokens_per_source": mean_length(collator, parts["test"]),
    }
    wanted = [pair["target"] for pair in parts["test"]]
    for beams in settings.beams:
        written = write(trainer, parts["test"], settings, beams)
        scores = character_scores(written, wanted)
        result |= {f"{name} x{beams}": score for name, score in scores.items()}
        rows = ({**pair, "generated": text} for pair, text in zip(parts["test"], written, strict=True))
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(output / f"test-{beams}-beams.jsonl", lines)
    write_json(output / "result.json", result)
    return result


def write(trainer: TechniqueTrainer, pairs: Sequence[Pair], settings: TitleArguments, beams: int) -> list[str]:
    """What the model that is trained writes for the sources."""
    return generate_texts(
        trainer.model,  # type: ignore[arg-type]
        trainer.processing_class,  # type: ignore[arg-type]
        [pair["source"] for pair in pairs],
        max_new_tokens=settings.max_target_length,
        max_source_length=settings.max_source_length,
        overlong="truncate",
        num_beams=beams,
        batch_size=trainer.args.per_device_eval_batch_size,
        show_progress=not trainer.args.disable_tqdm,
    )


def mean_length(collator: UniLmCollator, pairs: Sequence[Pair]) -> float:
    """Tokens of a source, as it is read."""
    return statistics.mean(map(len, collator.encoding.sources([pair["source"] for pair in pairs])))


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation of each score; the deviation of one run is 0."""
    names = [name for name in runs[0] if " x" in name]
    values = {name: [run[name] for run in runs] for name in names}
    return {
        name: {"mean": statistics.mean(found), "std": statistics.stdev(found) if len(found) > 1 else 0.0}
        for name, found in values.items()
    }


def table(runs: Sequence[dict[str, Any]], settings: TitleArguments) -> str:
    """Scores of the test part in percent; words beside characters, where both were run."""
    names = [f"{name} x{beams}" for beams in settings.beams for name in ("rouge-l", "rouge-1", "rouge-2", "bleu")]
    return arm_table(runs, names, baseline="character")


if __name__ == "__main__":
    run_recipe(main)
