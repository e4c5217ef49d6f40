"""Train a sentence encoder by SimCSE or CoSENT, and score it beside the one that it was made of.

Source: kexue.fm/archives/8348 (SimCSE) and 8847 (CoSENT); arXiv 2104.08821.

    python recipes/sentence_encoders.py recipes/configs/sentence_encoders/simcse.yaml

Methods: ``simcse`` takes the texts of the training files alone, ``entailment`` premises with an entailment and a
contradiction, ``cosent`` pairs with a likeness. Writes ``results.jsonl``, ``table.md`` and each seed's ``model``.
Called again after an interruption, it goes on where it was.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import CoSENTLoss
from transformers import TrainingArguments, set_seed

from nlpkit.files import SAVED_MODEL, only_writer, read_json, whole_folder, write_json, write_text
from nlpkit.losses import FlatNCELoss, InfoNCELoss
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
from nlpkit.tasks.similarity import (
    Retriever,
    TextPair,
    entailment_rows,
    index_texts,
    likeness_rows,
    likenesses,
    read_pairs,
    sentence_encoder,
    simcse_loss,
    text_rows,
)

Row = dict[str, Any]
METHODS = ("simcse", "entailment", "cosent")
UNTRAINED = "untrained"


@dataclass
class EncoderTrainingArguments(FineTuningDefaults, TrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/sentence_encoders"
    num_train_epochs: float = 1.0
    per_device_train_batch_size: int = 64
    learning_rate: float = 1e-5
    save_steps: float = 100
    save_total_limit: int | None = 1


@dataclass
class EncoderArguments:
    """What to train on what."""

    method: str = field(metadata={"help": "simcse, entailment or cosent", "choices": list(METHODS)})
    model: str = field(metadata={"help": "folder, shipped model, or repository on the Hub"})
    train_files: list[str] = field(metadata={"help": "pairs, see read_pairs; of simcse the texts alone count"})
    scored: list[str] = field(metadata={"help": "name=file of pairs with a likeness"})
    loss: str = field(
        default="info-nce", metadata={"help": "of the first two methods", "choices": ["info-nce", "flat-nce"]}
    )
    temperature: float = field(default=0.05, metadata={"help": "of these losses; CoSENT's scale is its inverse"})
    mini_batch_size: int | None = field(default=None, metadata={"help": "texts that run at a time, see simcse_loss"})
    pooling: str = field(default="mean", metadata={"choices": ["mean", "cls"]})
    prompt: str | None = field(default=None, metadata={"help": "goes before every text"})
    max_length: int = field(default=64, metadata={"help": "tokens; longer texts are cut"})
    max_train_rows: int | None = field(default=None, metadata={"help": "train on the first so many rows"})
    max_scored_pairs: int | None = field(default=None, metadata={"help": "score the first so many pairs"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "one training each"})


def main(argv: list[str]) -> list[Row]:
    """Run the recipe and return what ``results.jsonl`` holds."""
    settings, args = parse_recipe_arguments([EncoderArguments, EncoderTrainingArguments], argv)
    output = Path(args.output_dir)
    sets = {name: read_pairs(file) for name, _, file in (one.partition("=") for one in settings.scored)}
    sets = {name: pairs[: settings.max_scored_pairs] for name, pairs in sets.items()}
    pairs = [pair for file in settings.train_files for pair in read_pairs(file)]
    results: list[Row] = []
    with only_writer(output):
        facts = asdict(settings) | {"seeds": []} | training_facts(args)
        settle_facts(output / "run.json", facts, begins=not any(output.glob("seed-*")))
        for seed in [None, *settings.seeds]:
            results.append(run(seed, pairs, sets, settings, args))
            write_text(output / "results.jsonl", "".join(json.dumps(result) + "\n" for result in results))
            write_text(output / "table.md", method_table(results, list(sets), baseline=UNTRAINED))
    print((output / "table.md").read_text("utf-8"))
    return results


def run(
    seed: int | None,
    pairs: list[TextPair],
    sets: dict[str, list[TextPair]],
    settings: EncoderArguments,
    args: EncoderTrainingArguments,
) -> Row:
    """Score a seed, after training it if it has not been; ``None`` is the encoder as it is."""
    output = Path(args.output_dir) / (UNTRAINED if seed is None else f"seed-{seed}")
    if (output / "result.json").is_file():
        return read_json(output / "result.json")
    result: Row = {
        "method": UNTRAINED,
        "seed": seed,
        "metric": "spearman",
        "trained_parameters": 0,
        "train_seconds": 0.0,
    }
    encoder = load(settings)
    if seed is not None:
        if not (output / "model" / "training.json").is_file():
            train(encoder, seed, output, pairs, settings, args)
        encoder = sentence_encoder(output / "model", max_length=settings.max_length)
        result |= {"method": settings.method} | read_json(output / "model" / "training.json")
    result |= {name: score(encoder, scored) for name, scored in sets.items()}
    write_json(output / "result.json", result)
    return result


def load(settings: EncoderArguments) -> SentenceTransformer:
    """The encoder to train."""
    pooling: Any = settings.pooling
    return sentence_encoder(
        find_model(settings.model), pooling, max_length=settings.max_length, prompt=settings.prompt
    )


def train(
    encoder: SentenceTransformer,
    seed: int,
    output: Path,
    pairs: list[TextPair],
    settings: EncoderArguments,
    args: EncoderTrainingArguments,
) -> None:
    """Train one encoder from its last checkpoint on, and save it with what is known of its training."""
    set_seed(seed)
    rows, loss = rows_and_loss(encoder, pairs, settings)
    if settings.max_train_rows is not None:
        rows = rows.select(range(min(len(rows), settings.max_train_rows)))
    own = vars(replace(args, seed=seed, output_dir=str(output)))
    known = {name: own[name] for name in SentenceTransformerTrainingArguments.__dataclass_fields__ if name in own}
    trainer = SentenceTransformerTrainer(
        encoder,
        SentenceTransformerTrainingArguments(**known, prompts=settings.prompt),
        train_dataset=rows,
        loss=loss,
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
    )
    trained = train_from_last_checkpoint(trainer)
    facts = {
        "train_rows": len(rows),
        "steps": trained.steps,
        "train_loss": trained.loss,
        "train_seconds": trained.seconds,
        "trained_parameters": sum(p.numel() for p in encoder.parameters() if p.requires_grad),
    }
    with whole_folder(output / "model", replacing=SAVED_MODEL) as draft:
        encoder.save_pretrained(str(draft))
        write_json(draft / "training.json", facts)


def rows_and_loss(encoder: SentenceTransformer, pairs: list[TextPair], settings: EncoderArguments) -> tuple[Any, Any]:
    """What a method trains on, and its loss."""
    if settings.method == "cosent":
        return likeness_rows(pairs), CoSENTLoss(encoder, scale=1 / settings.temperature)
    loss = (InfoNCELoss if settings.loss == "info-nce" else FlatNCELoss)(settings.temperature)
    if settings.method == "entailment":
        rows = entailment_rows(pairs)
        return rows, simcse_loss(encoder, loss, mini_batch_size=settings.mini_batch_size, needs_dropout=False)
    rows = text_rows(text for pair in pairs for text in pair[:2])
    return rows, simcse_loss(encoder, loss, mini_batch_size=settings.mini_batch_size)


def score(encoder: SentenceTransformer, pairs: list[TextPair]) -> float:
    """Spearman's correlation of cosines and likeness."""
    texts, places = index_texts(pairs)
    cosines = Retriever(encoder.encode(texts, batch_size=64)).score_pairs(places)
    return float(spearmanr(cosines, likenesses(pairs)).statistic)


if __name__ == "__main__":
    run_recipe(main)
