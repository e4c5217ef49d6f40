"""Entity linking: names by dictionary, counts, and a model that reads, side by side.

Source: kexue.fm/archives/6919.

    python recipes/kgclue.py $NLPKIT_DATA/kgclue data/kgclue
    python recipes/linking.py recipes/configs/linking/kgclue.yaml

Files are JSON lines: of the knowledge base ``id``, ``name``, and perhaps ``aliases``, ``description``, ``facts`` and
``same_as``; of texts ``text`` and ``links`` of ``[start, end, id]``. Arms: ``names`` links every longest match to the
first entity that has the name, and ``longest`` the ``most_links`` longest ones of a text; ``prior`` goes by how often
a name was linked in the training texts, and to whom; ``model`` trains a cross-encoder, with every seed. Thresholds are
chosen on the dev texts.

Call it again after an interruption: what is finished is kept, and the current run goes on from its last checkpoint.
``output_dir`` holds results.jsonl, table.md, and for each training the linker, which ``nlpkit link --model`` takes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainingArguments, set_seed

from nlpkit.files import only_writer, read_json, write_json, write_text
from nlpkit.runs import (
    FineTuningDefaults,
    MetricsLog,
    RefuseDivergence,
    parse_recipe_arguments,
    run_recipe,
    settle_facts,
    train_from_last_checkpoint,
    training_facts,
)
from nlpkit.tasks.linking import (
    EntityLinker,
    KnowledgeBase,
    Link,
    MentionPrior,
    PriorLinker,
    link_accuracy,
    longest_links,
    read_linked,
    score_links,
)
from nlpkit.training import TechniqueTrainer, give_head_its_own_rate

Example = dict[str, Any]
Row = dict[str, Any]
ARMS = ("names", "longest", "prior", "model")
SCORED = ("dev", "test")
#: Those that link a name to the first entity that has it.
BY_NAME = ("names", "longest")
#: What the table shows of each part, by its name in the results.
COLUMNS = {
    "mention_f1": "mention F1",
    "accuracy": "accuracy, mention given",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}


@dataclass
class LinkingTrainingArguments(FineTuningDefaults, TrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/linking"
    num_train_epochs: float = 2.0
    per_device_train_batch_size: int = 32
    learning_rate: float = 2e-4
    save_steps: float = 200
    save_total_limit: int | None = 1
    train_sampling_strategy: str = "group_by_length"
    remove_unused_columns: bool = False  # else the lengths go, by which rows are grouped


@dataclass
class LinkingArguments:
    """What to link to what, and how."""

    knowledge_base: str = field(metadata={"help": "JSON lines of entities"})
    train_file: str = field(metadata={"help": "JSON lines of texts with links"})
    dev_file: str = field(metadata={"help": "likewise"})
    test_file: str | None = None
    model: str = field(default="wobert-mini-zh", metadata={"help": "folder, shipped model, or repository on the Hub"})
    arms: list[str] = field(default_factory=lambda: list(ARMS), metadata={"help": f"of {', '.join(ARMS)}"})
    most_links: int | None = field(default=None, metadata={"help": "links per text at most, where that is known"})
    least_prior: float = field(default=0.0, metadata={"help": "names that are linked less often are no candidates"})
    most_entities: int = field(default=8, metadata={"help": "candidates per name"})
    description_tokens: int = 32
    use_facts: bool = field(default=True, metadata={"help": "whether descriptions tell facts"})
    max_length: int | None = field(default=None, metadata={"help": "tokens of a text and a description together"})
    head_learning_rate: float | None = field(default=None, metadata={"help": "of the head alone"})
    max_train_texts: int | None = field(default=None, metadata={"help": "train a model on the first so many texts"})
    max_scored_texts: int | None = field(default=None, metadata={"help": "score the first so many of each part"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "one training each"})


def main(argv: list[str]) -> list[Row]:
    """Run the recipe and return what ``results.jsonl`` holds."""
    settings, args = parse_recipe_arguments([LinkingArguments, LinkingTrainingArguments], argv)
    if unknown := set(settings.arms) - set(ARMS):
        raise ValueError(f"arms hold {sorted(unknown)[0]!r}; there are {', '.join(ARMS)}")
    output = Path(args.output_dir)
    base = KnowledgeBase.read(settings.knowledge_base)
    parts = read_parts(settings, base)
    results: list[Row] = []
    with only_writer(output):
        facts = asdict(settings) | {"arms": [], "seeds": []} | training_facts(args)
        begun = [*output.glob("*/seed-*/checkpoint-*"), *output.glob("*/seed-*/result.json")]
        settle_facts(output / "run.json", facts, begins=not begun)
        for arm in settings.arms:
            for seed in settings.seeds if arm == "model" else settings.seeds[:1]:
                results.append(run(arm, seed, base, parts, settings, args))
                write_text(output / "results.jsonl", "".join(json.dumps(result) + "\n" for result in results))
                write_text(output / "table.md", linking_table(results))
    print((output / "table.md").read_text("utf-8"))
    return results


def read_parts(settings: LinkingArguments, base: KnowledgeBase) -> dict[str, list[Example]]:
    """The texts of each part with their links."""
    files = {"dev": settings.dev_file, "test": settings.test_file}
    parts = {"train": read_linked(settings.train_file, base)}
    parts |= {
        part: read_linked(file, base)[: settings.max_scored_texts] for part, file in files.items() if file is not None
    }
    if not any(example["links"] for example in parts["train"]):
        raise ValueError(f"{settings.train_file} holds no link; there is nothing to learn")
    return parts


def run(
    arm: str,
    seed: int,
    base: KnowledgeBase,
    parts: dict[str, list[Example]],
    settings: LinkingArguments,
    args: LinkingTrainingArguments,
) -> Row:
    """Score an arm, after training where it is a model, or read what was finished."""
    output = Path(args.output_dir) / arm / f"seed-{seed}"
    if (output / "result.json").is_file():
        return read_json(output / "result.json")
    result: Row = {"method": arm, "seed": seed}
    linker = make_linker(arm, seed, base, parts["train"], settings)
    if isinstance(linker, EntityLinker):
        result |= train(linker, seed, output, parts["train"], settings, args)
        linker.save_pretrained(output / "model")
    threshold: float | None = None
    for name in (part for part in SCORED if part in parts):
        begin = perf_counter()
        texts, gold = texts_of(parts[name]), gold_of(parts[name])
        if arm in BY_NAME:
            links = longest_links(texts, linker.index)
            found = links if arm == "names" else [longest(row, settings.most_links) for row in links]
        else:
            size, bar = args.per_device_eval_batch_size, not args.disable_tqdm
            scored = linker.scored(texts, batch_size=size, show_progress=bar)
            if threshold is None:  # on dev, which comes first
                threshold = scored.best_threshold(gold, settings.most_links)
            found = scored.links(threshold, settings.most_links)
        seconds = perf_counter() - begin
        result[name] = score(linker, texts, gold, found, first=arm in BY_NAME)
        result[f"{name}_seconds"] = round(seconds, 2)
    result["threshold"] = threshold
    write_json(output / "result.json", result)
    return result


def make_linker(
    arm: str, seed: int, base: KnowledgeBase, train_part: Sequence[Example], settings: LinkingArguments
) -> PriorLinker:
    """What links, with a prior that is counted on the training texts alone."""
    counted = PriorLinker(base, least_prior=settings.least_prior)
    prior = MentionPrior.count(counted.index, texts_of(train_part), gold_of(train_part))
    if arm != "model":
        return PriorLinker(base, prior, least_prior=settings.least_prior)
    set_seed(seed)
    return EntityLinker.from_pretrained(
        settings.model,
        base,
        prior,
        settings={
            "least_prior": settings.least_prior,
            "most_entities": settings.most_entities,
            "description_tokens": settings.description_tokens,
            "use_facts": settings.use_facts,
            "max_length": settings.max_length,
        },
        dtype=torch.float32,
        # On CPUs plain attention, whose backward pass is faster.
        attn_implementation="sdpa" if torch.cuda.is_available() else "eager",
    )


def train(
    linker: EntityLinker,
    seed: int,
    output: Path,
    part: Sequence[Example],
    settings: LinkingArguments,
    args: LinkingTrainingArguments,
) -> Row:
    """Train from the last checkpoint on; what is known of it."""
    rows = linker.training_rows(part[: settings.max_train_texts])
    trainer = TechniqueTrainer(
        model=linker.model,
        args=replace(args, seed=seed, output_dir=str(output)),
        data_collator=linker.collator(),
        train_dataset=Dataset.from_list([{**row, "length": len(row["text"])} for row in rows]),
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
    )
    if settings.head_learning_rate is not None:
        give_head_its_own_rate(linker.model, trainer.create_optimizer(), settings.head_learning_rate)
    trained = train_from_last_checkpoint(trainer)
    return {
        "steps": trained.steps,
        "rows": len(rows),
        "nil_rows": sum(row["labels"] == 0 for row in rows),
        "train_seconds": round(trained.seconds, 2),
    }


def longest(links: Sequence[Link], most: int | None) -> list[Link]:
    """The longest links, of equal ones the first."""
    return sorted(sorted(links, key=lambda link: link.start - link.end)[:most])


def score(
    linker: PriorLinker, texts: Sequence[str], gold: list[list[Link]], found: list[list[Link]], *, first: bool
) -> Row:
    """Mentions, entities where the mention is given, and both together."""
    report = score_links(gold, found)
    spans = [[(link.start, link.end) for link in row] for row in gold]
    if first:
        chosen = [
            [next(iter(linker.index.entities(text[slice(*span)])), None) for span in row]
            for text, row in zip(texts, spans, strict=True)
        ]
    else:
        chosen = linker.choose(texts, spans)
    candidates = [
        {(one.start, one.end, entity) for one in linker.mentions(text) for entity in one.entities} for text in texts
    ]
    wanted = [
        (link.start, link.end, link.entity) in own for row, own in zip(gold, candidates, strict=True) for link in row
    ]
    return {
        "mention_f1": report.mentions.f1,
        "accuracy": link_accuracy(gold, chosen),
        "precision": report.links.precision,
        "recall": report.links.recall,
        "f1": report.links.f1,
        "gold": report.links.gold,
        "candidates": sum(map(len, candidates)),
        "among_candidates": sum(wanted) / len(wanted) if wanted else 0.0,
    }


def linking_table(results: Sequence[Row]) -> str:
    """Means and deviations of each arm in percent, as a Markdown table per part.

    Example:
        >>> scores = dict.fromkeys(COLUMNS, 0.5)
        >>> print(linking_table([{"method": "prior", "seed": 0, "threshold": 0.4, "dev": scores}]))
        | dev | runs | threshold | mention F1 | accuracy, mention given | precision | recall | F1 |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | prior | 1 | 0.40 | 50.00 | 50.00 | 50.00 | 50.00 | 50.00 |
        <BLANKLINE>
    """
    tables = []
    for part in (part for part in SCORED if part in results[0]):
        lines = [
            f"| {part} | runs | threshold | {' | '.join(COLUMNS.values())} |",
            f"| --- |{' ---: |' * (2 + len(COLUMNS))}",
        ]
        for arm in dict.fromkeys(result["method"] for result in results):
            runs = [result for result in results if result["method"] == arm]
            thresholds = [result["threshold"] for result in runs if result["threshold"] is not None]
            cells = [f"{mean(thresholds):.2f}" if thresholds else ""]
            cells += [spread([100 * run[part][name] for run in runs]) for name in COLUMNS]
            lines.append(f"| {arm} | {len(runs)} | {' | '.join(cells)} |")
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def spread(values: Sequence[float]) -> str:
    """Mean and deviation of a sample."""
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def texts_of(part: Sequence[Example]) -> list[str]:
    """The texts of a part."""
    return [example["text"] for example in part]


def gold_of(part: Sequence[Example]) -> list[list[Link]]:
    """The links of a part."""
    return [example["links"] for example in part]


if __name__ == "__main__":
    run_recipe(main)
