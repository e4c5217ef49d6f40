"""Math word problems: a sequence-to-sequence model writes the equation, and its value is compared with the answer.

Source: *ape210k* with a sequence-to-sequence model (kexue.fm/archives/7809), and the normalisation of it in
docs/math.md.

    python recipes/math_word_problems.py recipes/configs/math_word_problems/ape210k.yaml --model SEQ2SEQ_MODEL

Files hold one JSON object per line: ``original_text``, ``equation`` and ``ans``, as those of Math23K and Ape210K. The
model is a folder or a repository of any encoder-decoder of transformers whose tokenizer knows digits, signs and the
language. Trained on are problems whose equations give their answers, and whose text is in no part that is scored.

Every seed is trained once and scored with every number of beams. Call it again after an interruption: what is finished
is kept, and the current seed goes on from its last checkpoint. ``output_dir`` holds results.jsonl, table.md, and for
each seed the model and everything that it wrote.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import (
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainingArguments,
    set_seed,
)

from nlpkit import TechniqueSeq2SeqTrainer
from nlpkit.files import SAVED_MODEL, only_writer, read_json, whole_folder, write_json, write_text
from nlpkit.pretrained import open_encoder_decoder
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    RefuseDivergence,
    method_table,
    parse_recipe_arguments,
    run_recipe,
    settle_facts,
    train_from_last_checkpoint,
    training_facts,
)
from nlpkit.sources import find_model
from nlpkit.tasks.math import (
    FORMS,
    ExpressionError,
    WordProblem,
    evaluate_postfix,
    gives_its_answer,
    normalise_problem,
    read_equation,
    read_word_problems,
    score_answers,
    to_texts,
)

Row = dict[str, Any]
SCORED = ("dev", "test")


@dataclass
class MathTrainingArguments(FineTuningDefaults, Seq2SeqTrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/math_word_problems"
    num_train_epochs: float = 15.0
    per_device_train_batch_size: int = 32
    learning_rate: float = 3e-4
    save_steps: float = 200
    save_total_limit: int | None = 1
    predict_with_generate: bool = True


@dataclass
class MathArguments:
    """What to train on what."""

    train_file: str = field(metadata={"help": "JSON lines with original_text, equation and ans"})
    model: str = field(metadata={"help": "folder or Hub repository of an encoder-decoder"})
    dev_file: str | None = field(default=None, metadata={"help": "the last dev_rows of train_file by default"})
    test_file: str | None = None
    dev_rows: int = field(default=500, metadata={"help": "taken from train_file where there is no dev_file"})
    form: str = field(default="infix", metadata={"help": "of the equations that it writes", "choices": list(FORMS)})
    beams: list[int] = field(default_factory=lambda: [1, 3], metadata={"help": "score with each"})
    max_length: int = field(default=256, metadata={"help": "tokens of a problem; longer ones are cut"})
    max_target_length: int = field(default=64, metadata={"help": "tokens of an equation"})
    max_train_rows: int | None = field(default=None, metadata={"help": "train on the first so many problems"})
    max_scored_rows: int | None = field(default=None, metadata={"help": "score the first so many of each part"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "one training each"})


def main(argv: list[str]) -> list[Row]:
    """Run the recipe and return what ``results.jsonl`` holds."""
    settings, args = parse_recipe_arguments([MathArguments, MathTrainingArguments], argv)
    if not settings.beams or min(settings.beams) < 1:
        raise ValueError(f"beams {settings.beams} must be numbers from 1 on, at least one")
    output = Path(args.output_dir)
    parts, left_out = read_parts(settings)
    results = []
    with only_writer(output):
        facts = asdict(settings) | {"beams": [], "seeds": []} | training_facts(args)
        begun = [*output.glob("seed-*/checkpoint-*"), *output.glob("seed-*/model")]
        settle_facts(output / "run.json", facts, begins=not begun)
        for seed in settings.seeds:
            for beams in settings.beams:
                results.append({**run(seed, beams, parts, settings, args), **left_out})
                write_text(output / "results.jsonl", "".join(json.dumps(result) + "\n" for result in results))
                write_text(output / "table.md", method_table(results, SCORED, baseline=results[0]["method"]))
    print((output / "table.md").read_text("utf-8"))
    return results


def read_parts(settings: MathArguments) -> tuple[dict[str, list[WordProblem]], dict[str, int]]:
    """The problems of each part, and how many were left out of training for which reason."""
    train = read_word_problems(settings.train_file)
    if settings.dev_file is None:
        if not 0 < settings.dev_rows < len(train):
            raise ValueError(f"dev_rows {settings.dev_rows} of {len(train)} problems leave none to train on or score")
        train, dev = train[: -settings.dev_rows], train[-settings.dev_rows :]
    else:
        dev = read_word_problems(settings.dev_file)
    parts = {"dev": dev[: settings.max_scored_rows]}
    if settings.test_file is not None:
        parts["test"] = read_word_problems(settings.test_file)[: settings.max_scored_rows]
    for name, part in parts.items():  # before anything is trained
        try:
            score_answers([problem.equation for problem in part], [problem.answer for problem in part])
        except ExpressionError as error:
            raise ValueError(
                f"{name} has an answer that nothing can be compared with, counted from 0: {error}"
            ) from error
    scored = {normalise_problem(problem.text) for part in parts.values() for problem in part}
    new = [problem for problem in train if normalise_problem(problem.text) not in scored]
    right = [
        problem for problem in tqdm(new, desc="checking", unit="problem", leave=False) if gives_its_answer(problem)
    ]
    if not right:
        raise ValueError(f"no equation of {settings.train_file} gives its answer for a problem that is not scored")
    left_out = {"left_out_scored": len(train) - len(new), "left_out_inconsistent": len(new) - len(right)}
    return {"train": right[: settings.max_train_rows], **parts}, left_out


def load(source: str) -> tuple[Any, Any]:
    """The tokenizer and the model; another kind of model needs no other change than here and in ``encode``."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    return tokenizer, open_encoder_decoder(source, dtype=torch.float32)


def encode(problems: Sequence[WordProblem], tokenizer: Any, settings: MathArguments) -> list[Row]:
    """Token ids of problems, with equations as labels where they have one that can be read."""
    rows = []
    for problem in tqdm(problems, desc="encoding", unit="problem", leave=False):
        try:
            source, target = to_texts(problem, settings.form)  # type: ignore[arg-type]
        except ExpressionError:  # scored by its answer all the same
            source, target = normalise_problem(problem.text), ""
        ids = tokenizer(source, truncation=True, max_length=settings.max_length)
        labels = tokenizer(text_target=target, truncation=True, max_length=settings.max_target_length)["input_ids"]
        rows.append({"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"], "labels": labels})
    return rows


def check_targets(problems: Sequence[WordProblem], rows: Sequence[Row], tokenizer: Any, form: Any) -> float:
    """The share of equations that the tokenizer can write in full; a model could learn no others."""
    lost = []
    for problem, row in zip(problems, rows, strict=True):
        written = tokenizer.decode(row["labels"], skip_special_tokens=True)
        if score_answers([written], [evaluate_postfix(read_equation(problem.equation))], form=form).right == 0:
            lost.append((to_texts(problem, form)[1], written))
    if len(lost) > 0.05 * len(rows):
        (target, written), *_ = lost
        raise ValueError(
            f"{len(lost)} of {len(rows)} equations are lost on the tokenizer or on max_target_length: {target!r} "
            f"comes back as {written!r}; choose a model whose tokenizer has all digits and signs, or a larger length"
        )
    return 1 - len(lost) / len(rows)


def run(
    seed: int,
    beams: int,
    parts: dict[str, list[WordProblem]],
    settings: MathArguments,
    args: MathTrainingArguments,
) -> Row:
    """Score a seed with so many beams, after training it if it has not been; or read what was finished."""
    output = Path(args.output_dir) / f"seed-{seed}"
    finished = output / f"beams-{beams}.json"
    if finished.is_file():
        return read_json(finished)
    if not (output / "model" / "training.json").is_file():
        train(seed, output, parts["train"], settings, args)
    tokenizer, model = load(str(output / "model"))
    trainer = make_trainer(model, tokenizer, seed, output, settings, args)
    result: Row = {
        "method": f"beams {beams}",
        "seed": seed,
        "metric": "execution accuracy",
        "form": settings.form,
        **read_json(output / "model" / "training.json"),
    }
    for name in (part for part in SCORED if part in parts):
        rows: Any = encode(parts[name], tokenizer, settings)
        begin = perf_counter()
        ids = np.asarray(trainer.predict(rows, num_beams=beams).predictions)
        seconds = perf_counter() - begin
        scores, text = score(ids, parts[name], tokenizer, settings)
        write_text(output / f"beams-{beams}.{name}.jsonl", text)
        result |= {
            name: scores.accuracy,
            f"{name}_broken": scores.broken / len(scores.outcomes),
            f"{name}_rows": len(scores.outcomes),
            f"{name}_seconds": round(seconds, 1),
        }
    write_json(finished, result)
    return result


def train(
    seed: int, output: Path, problems: list[WordProblem], settings: MathArguments, args: MathTrainingArguments
) -> None:
    """Train one model from its last checkpoint on, and save it with what is known of its training."""
    set_seed(seed)
    tokenizer, model = load(find_model(settings.model))
    rows = encode(problems, tokenizer, settings)
    facts = {"train_rows": len(rows), "writable": check_targets(problems, rows, tokenizer, settings.form)}
    trainer = make_trainer(model, tokenizer, seed, output, settings, args, train_dataset=rows)
    trained = train_from_last_checkpoint(trainer)
    facts |= {
        "steps": trained.steps,
        "train_loss": trained.loss,
        "train_seconds": trained.seconds,
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    with whole_folder(output / "model", replacing=SAVED_MODEL) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        write_json(draft / "training.json", facts)


def make_trainer(
    model: Any,
    tokenizer: Any,
    seed: int,
    output: Path,
    settings: MathArguments,
    args: MathTrainingArguments,
    **datasets: Any,
) -> TechniqueSeq2SeqTrainer:
    """The Trainer of a seed, to train or to generate."""
    return TechniqueSeq2SeqTrainer(
        model=model,
        args=replace(args, seed=seed, output_dir=str(output), generation_max_length=settings.max_target_length),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
        **datasets,
    )


def score(ids: np.ndarray, problems: list[WordProblem], tokenizer: Any, settings: MathArguments) -> tuple[Any, str]:
    """Execute what was written; the scores, and a line of JSON for each problem."""
    ids = np.where(ids < 0, tokenizer.pad_token_id, ids)
    written = tokenizer.batch_decode(ids, skip_special_tokens=True)
    scores = score_answers(written, [problem.answer for problem in problems], form=settings.form)  # type: ignore[arg-type]
    lines = [
        json.dumps({**problem._asdict(), "written": text, "outcome": outcome}, ensure_ascii=False)
        for problem, text, outcome in zip(problems, written, scores.outcomes, strict=True)
    ]
    return scores, "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_recipe(main)
