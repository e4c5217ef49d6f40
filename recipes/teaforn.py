"""Teacher forcing, TeaForN and its rivals from random weights, on tasks that need looking ahead and on texts.

    python recipes/teaforn_data.py star_graph data/teaforn/star_graph
    python recipes/teaforn.py recipes/configs/teaforn/star_graph.yaml

A small T5 for each arm and seed. ``base x2`` takes twice the steps of ``base``: what two levels have to be compared
with at equal compute, which is to its favour, since levels run the decoder alone. Writes ``results.jsonl``,
``table.md``, ``table.svg`` (differences at equal compute), ``beams.svg`` (gain by number of beams) and
``exposure.svg`` (losses after own tokens). Called again after an interruption, it goes on from the last checkpoint. An
arm may name its strength, ``--arms base teaforn=0.5``; choose it on dev alone, with other seeds and in another folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tqdm import tqdm
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerFast,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from nlpkit import TechniqueSeq2SeqTrainer
from nlpkit.extras import install_hint
from nlpkit.files import only_writer, read_json, write_json, write_text
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    RefuseDivergence,
    arm_table,
    effects,
    parse_recipe_arguments,
    plot_effects,
    run_recipe,
    settle_facts,
    train_from_last_checkpoint,
    training_facts,
)
from nlpkit.teaforn import (
    EmbeddingMixture,
    Exposure,
    MultiToken,
    RandomReplacement,
    Raw,
    RmsMatched,
    ScheduledSampling,
    TeaForN,
    length_ratio,
    measure_exposure,
    plot_exposure,
    plot_gain_by_beam,
    repetition,
)
from nlpkit.text_files import read_records
from nlpkit.training import ScheduledStrength, Technique, bf16_is_fast, fast_attention, fused_gelu, linear_strength

Row = dict[str, Any]
SPECIAL = ["<pad>", "</s>", "<unk>"]


@dataclass
class TeaForNTrainingArguments(FineTuningDefaults, Seq2SeqTrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/teaforn"
    max_steps: int = field(default=3000, metadata={"help": "optimizer steps of the base arm; a multiple of 3"})
    per_device_train_batch_size: int = 64
    learning_rate: float = 1e-3
    label_smoothing_factor: float = 0.0
    train_sampling_strategy: str = "group_by_length"
    save_strategy: str = "steps"
    save_steps: float = 1000
    save_total_limit: int | None = 1
    bf16: bool = bf16_is_fast()


@dataclass
class TeaForNArguments:
    """What to compare on what, and the model."""

    train_file: str
    dev_file: str
    test_file: str
    units: str = field(
        default="words", metadata={"help": "that tokens are", "choices": ["words", "characters", "pieces"]}
    )
    vocabulary: int = field(default=8000, metadata={"help": "tokens at most; the rarest become unknown"})
    metrics: list[str] = field(default_factory=lambda: ["exact"], metadata={"help": "exact, bleu, chrf; 1st decides"})
    beams: list[int] = field(default_factory=lambda: [1, 3, 5])
    arms: list[str] = field(default_factory=lambda: ["base"], metadata={"help": "see ARMS; 'name=strength'"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4], metadata={"help": "one run each"})
    parts: list[str] = field(default_factory=lambda: ["dev", "test"], metadata={"help": "to score"})
    exposure_rows: int = field(default=256, metadata={"help": "of the first part, to measure exposure bias on"})
    width: int = 128
    layers: int = 3
    heads: int = 4
    dropout: float = 0.1
    max_source_length: int = 128
    max_target_length: int = 64


@dataclass
class Arm:
    """How an arm trains.

    Attributes:
        techniques: made for each run.
        passes: of the decoder over a row in a step, forward and backward.
        steps: of the base arm, how often.
    """

    techniques: Callable[[float], list[Technique]] = lambda strength: []
    strength: float | None = None
    passes: float = 1.0
    steps: float = 1.0


def growing(strength: float) -> list[Technique]:
    """Scheduled sampling whose probability grows from nothing."""
    sampling = ScheduledSampling(0.0)
    return [sampling, ScheduledStrength(sampling, "probability", linear_strength(0.0, strength))]


#: Arms by name, with the strength that they have unless they name one. One more is one more line.
ARMS: dict[str, Arm] = {
    "base": Arm(),
    "base x4/3": Arm(steps=4 / 3),
    "base x2": Arm(steps=2),
    "base x3": Arm(steps=3),
    "teaforn": Arm(lambda strength: [TeaForN(weight=strength)], 1.0, passes=2),
    "teaforn 3": Arm(lambda strength: [TeaForN(3, weight=strength)], 1.0, passes=3),
    "teaforn raw": Arm(lambda strength: [TeaForN(weight=strength, feed=Raw())], 1.0, passes=2),
    "teaforn mixture": Arm(lambda strength: [TeaForN(weight=strength, feed=EmbeddingMixture())], 1.0, passes=2),
    "teaforn detached": Arm(lambda strength: [TeaForN(weight=strength, feed=RmsMatched(detach=True))], 1.0, passes=2),
    "scheduled-sampling": Arm(growing, 0.5, passes=4 / 3),
    "random-replacement": Arm(lambda strength: [RandomReplacement(strength)], 0.15),
    "multi-token": Arm(lambda strength: [MultiToken(weight=strength)], 1.0),
    "multi-token 4": Arm(lambda strength: [MultiToken(4, weight=strength)], 1.0),
}


def main(argv: list[str]) -> list[Row]:
    """Run the recipe and return what ``results.jsonl`` holds."""
    settings, args = parse_recipe_arguments([TeaForNArguments, TeaForNTrainingArguments], argv)
    arms = {text: named_arm(text) for text in settings.arms}
    score_of(settings.metrics, [], [])
    output = Path(args.output_dir)
    with only_writer(output):
        facts = asdict(settings) | {"arms": [], "seeds": [], "metrics": []} | training_facts(args)
        kept = [*output.glob("*/seed-*/result.json"), *output.glob("*/seed-*/checkpoint-*")]
        settle_facts(output / "run.json", facts, begins=not kept)
        rows = {
            part: [row for _, row in read_records(getattr(settings, f"{part}_file"))]
            for part in dict.fromkeys(("train", *settings.parts))
        }
        if not kept:
            save_tokenizer(output / "tokenizer", rows["train"], settings)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(output / "tokenizer")
        encoded = {part: encode(found, tokenizer, settings) for part, found in rows.items()}
        results: list[Row] = []
        for seed in settings.seeds:
            for text, arm in arms.items():
                results.append(run(text, arm, seed, rows, encoded, tokenizer, settings, args))
                write_report(with_finished(results, output), settings, output)
    print(arm_table(with_finished(results, output), columns_of(settings)))
    return results


def named_arm(text: str) -> Arm:
    """An arm with its strength.

    Raises:
        ValueError: there is no such arm, it has no strength, or the strength is no number.
    """
    name, given, strength = text.partition("=")
    if name not in ARMS:
        raise ValueError(f"unknown arm {name!r}; use {', '.join(ARMS)}")
    if given and ARMS[name].strength is None:
        raise ValueError(f"arm {name!r} has no strength, so that {text!r} is {name!r}")
    try:
        return replace(ARMS[name], strength=float(strength)) if given else ARMS[name]
    except ValueError:
        raise ValueError(f"the strength of arm {text!r} is no number") from None


def with_finished(results: list[Row], output: Path) -> list[Row]:
    """Runs of this call, and behind them those of earlier ones, of other arms or seeds."""
    known = {(result["arm"], result["seed"]) for result in results}
    found = [dict(read_json(file)) for file in sorted(output.glob("*/seed-*/result.json"))]
    return [*results, *(result for result in found if (result["arm"], result["seed"]) not in known)]


def save_tokenizer(folder: Path, rows: Sequence[Row], settings: TeaForNArguments) -> None:
    """Train the tokenizer of a comparison, on sources and targets."""
    trained = train_tokenizer([row[side] for row in rows for side in ("source", "target")], settings)
    names = dict(zip(("pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=trained, **names).save_pretrained(folder)


def train_tokenizer(texts: Sequence[str], settings: TeaForNArguments) -> Tokenizer:
    """Words between white space, characters, or pieces of bytes."""
    if settings.units == "pieces":
        tokenizer: Any = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = (
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            decoders.ByteLevel(),
        )
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=settings.vocabulary, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL[2]))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        if settings.units == "characters":
            tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
            tokenizer.decoder = decoders.Fuse()
        trainer = trainers.WordLevelTrainer(
            vocab_size=settings.vocabulary, special_tokens=SPECIAL, show_progress=False
        )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {SPECIAL[1]}", special_tokens=[(SPECIAL[1], 1)]
    )
    return tokenizer


def encode(rows: Sequence[Row], tokenizer: PreTrainedTokenizerFast, settings: TeaForNArguments) -> list[Row]:
    """Ids of sources and targets."""

    def ids(side: str, limit: int) -> list[list[int]]:
        found = tokenizer([row[side] for row in rows], truncation=True, max_length=limit)["input_ids"]
        return [list(row) for row in found]

    sources, targets = ids("source", settings.max_source_length), ids("target", settings.max_target_length)
    return [{"input_ids": one, "labels": other} for one, other in zip(sources, targets, strict=True)]


def new_model(tokenizer: PreTrainedTokenizerFast, settings: TeaForNArguments) -> Any:
    """A T5 with random weights, drawn from the current seed."""
    shape: dict[str, Any] = {
        "vocab_size": 8 * -(-len(tokenizer) // 8),
        "d_model": settings.width,
        "d_kv": settings.width // settings.heads,
        "d_ff": 4 * settings.width,
        "num_layers": settings.layers,
        "num_heads": settings.heads,
        "dropout_rate": settings.dropout,
        "feed_forward_proj": "gated-gelu",
    }
    ends: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return T5ForConditionalGeneration(T5Config(**shape, **ends))


def run(
    text: str,
    arm: Arm,
    seed: int,
    rows: dict[str, list[Row]],
    encoded: dict[str, list[Row]],
    tokenizer: PreTrainedTokenizerFast,
    settings: TeaForNArguments,
    args: TeaForNTrainingArguments,
) -> Row:
    """Train and score one model, or read the scores of one that was finished."""
    output = Path(args.output_dir) / text.replace(" ", "-").replace("/", "-") / f"seed-{seed}"
    if (output / "result.json").is_file():
        return dict(read_json(output / "result.json"))
    set_seed(seed)  # before the model is made
    model = new_model(tokenizer, settings)
    steps = round(args.max_steps * arm.steps)
    trainer = TechniqueSeq2SeqTrainer(
        model=model,
        args=replace(args, seed=seed, output_dir=str(output), max_steps=steps),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        train_dataset=encoded["train"],
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
        techniques=arm.techniques(0.0 if arm.strength is None else arm.strength),
    )
    with fast_attention(model), fused_gelu(model):
        seconds = round(train_from_last_checkpoint(trainer).seconds, 1)
    in_characters = settings.units == "characters"
    result: Row = {"arm": text, "seed": seed, "steps": steps, "passes": arm.passes, "seconds": seconds}
    for part in settings.parts:
        targets = [row["target"] for row in rows[part]]
        for beams in settings.beams:
            written = write(model, encoded[part], beams, tokenizer, settings, args)
            found = score_of(("exact", "bleu", "chrf"), written, targets)
            result |= {f"{part} {metric} beam {beams}": value for metric, value in found.items()}
            own, right = (
                [list(text) if in_characters else text.split() for text in side] for side in (written, targets)
            )
            result[f"{part} repetition beam {beams}"] = repetition(own)
            result[f"{part} length beam {beams}"] = length_ratio(own, right)
    exposure = exposed(model, encoded[settings.parts[0]][: settings.exposure_rows], tokenizer, args)
    result |= {"gap": exposure.gap, "exposure": {key: value.tolist() for key, value in exposure._asdict().items()}}
    write_json(output / "result.json", result)
    return result


def batches_of(rows: Sequence[Row], tokenizer: PreTrainedTokenizerFast, args: TeaForNTrainingArguments) -> list[Row]:
    """Padded rows, in their order."""
    collate, size = DataCollatorForSeq2Seq(tokenizer), args.per_device_eval_batch_size
    return [
        {name: value.to(args.device) for name, value in collate(list(rows[start : start + size])).items()}
        for start in range(0, len(rows), size)
    ]


@torch.inference_mode()
def write(
    model: Any,
    rows: Sequence[Row],
    beams: int,
    tokenizer: PreTrainedTokenizerFast,
    settings: TeaForNArguments,
    args: TeaForNTrainingArguments,
) -> list[str]:
    """What the model writes for each row, by plain ``generate``."""
    model.eval()
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]["input_ids"]))
    written: dict[int, str] = {}
    batches = batches_of([rows[place] for place in order], tokenizer, args)
    for batch in tqdm(batches, desc=f"writing with {beams} beams", unit="batch", disable=args.disable_tqdm):
        found: Any = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            num_beams=beams,
            do_sample=False,
            max_new_tokens=settings.max_target_length,
        )
        for text in tokenizer.batch_decode(found, skip_special_tokens=True):
            written[order[len(written)]] = text
    return [written[place] for place in range(len(rows))]


def score_of(metrics: Sequence[str], written: Sequence[str], targets: Sequence[str]) -> dict[str, float]:
    """Fractions by metric: texts that are right as a whole, BLEU of sacrebleu by its own tokens, and chrF.

    Raises:
        ValueError: there is no such metric.
        ImportError: sacrebleu is not installed.
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise ImportError(f"BLEU and chrF need sacrebleu; {install_hint('eval')}", name="sacrebleu") from error
    chinese = any("一" <= character <= "鿿" for target in targets[:100] for character in target)

    def exact() -> float:
        return float(np.mean([one.split() == other.split() for one, other in zip(written, targets, strict=True)]))

    def bleu() -> float:
        return sacrebleu.corpus_bleu(written, [list(targets)], tokenize="zh" if chinese else "13a").score / 100

    def chrf() -> float:
        return sacrebleu.corpus_chrf(written, [list(targets)]).score / 100

    known = {"exact": exact, "bleu": bleu, "chrf": chrf}
    if unknown := [metric for metric in metrics if metric not in known]:
        raise ValueError(f"unknown metric {unknown[0]!r}; use {', '.join(known)}")
    return {metric: known[metric]() for metric in metrics} if targets else {}


def exposed(
    model: Any,
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerFast,
    args: TeaForNTrainingArguments,
) -> Exposure:
    """Losses after right and after own tokens."""
    return measure_exposure(model, batches_of(rows, tokenizer, args), show_progress=not args.disable_tqdm)


def columns_of(settings: TeaForNArguments) -> list[str]:
    """What is shown of each run; the first one is compared."""
    return [
        f"{part} {metric} beam {beams}"
        for part in reversed(settings.parts)
        for metric in settings.metrics
        for beams in settings.beams
    ]


def write_report(results: Sequence[Row], settings: TeaForNArguments, output: Path) -> None:
    """All runs, the table, and the pictures."""
    columns = columns_of(settings)
    write_text(output / "results.jsonl", "".join(json.dumps(result) + "\n" for result in results))
    write_text(output / "table.md", arm_table(results, columns))
    if found := effects(results, columns[0]):
        plot_effects({columns[0]: found}, output / "table.svg")
    arms = list(dict.fromkeys(result["arm"] for result in results))
    plot_exposure({arm: mean_exposure(results, arm) for arm in arms}, output / "exposure.svg")
    by_arm = {arm: {result["seed"]: result for result in results if result["arm"] == arm} for arm in arms}
    seeds = set.intersection(*(set(runs) for runs in by_arm.values()))
    if "base" in arms and len(arms) > 1 and seeds:
        part, metric = settings.parts[-1], settings.metrics[0]
        scores = {
            arm: {
                beams: [100 * runs[seed][f"{part} {metric} beam {beams}"] for seed in sorted(seeds)]
                for beams in settings.beams
            }
            for arm, runs in by_arm.items()
        }
        plot_gain_by_beam(scores, output / "beams.svg")


def mean_exposure(results: Sequence[Row], arm: str) -> Exposure:
    """Of all seeds of an arm, by position."""
    found = [result["exposure"] for result in results if result["arm"] == arm]
    longest = max(len(one["rows"]) for one in found)

    def total(name: str) -> Any:
        cells = np.zeros(longest)
        for one in found:
            weight = np.ones(len(one["rows"])) if name == "rows" else np.array(one["rows"])
            cells[: len(one["rows"])] += np.array(one[name]) * weight
        return cells

    rows = total("rows")
    return Exposure(total("gold") / rows, total("own") / rows, total("agreement") / rows, rows.astype(np.int64))


if __name__ == "__main__":
    run_recipe(main)
