"""Pre-training of an mT5 from nothing on raw text: its vocabulary, spans, pseudo-summaries, and pairs if given.

    python recipes/mt5_pretrain.py recipes/configs/mt5_pretrain/mini_zh.yaml --train_files 'CORPUS/*.txt.xz'
    nlpkit generate --model runs/t5-mini-zh/model --file texts.txt

Source: T5 (arXiv 1910.10683) takes spans out of a text and writes them; T5-PEGASUS (kexue.fm/archives/8209) writes
the sentences of a document that say most of what its others say; pairs of a source and a target are learnt along, as
T5's multi-task pre-training does (section 3.5.3).

Call it again after an interruption, kill -9 included: it continues from the last checkpoint in ``output_dir`` and
logs the losses that the uninterrupted run would have logged. See docs/pretraining.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelCardData
from transformers import (
    AutoTokenizer,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerBase,
    Seq2SeqTrainingArguments,
    TrainingArguments,
    set_seed,
)

from nlpkit import TechniqueSeq2SeqTrainer, generate_texts
from nlpkit.data import (
    BucketedMixture,
    Corpus,
    Mixture,
    PackedCorpus,
    Pair,
    PairCorpus,
    SpanCorruptionCollator,
    domain_of,
    draw_lines,
    find_text_files,
    longest_row,
    number_for_evaluation,
    parse_shares,
    read_runs,
    row_lengths,
    spread_over_domains,
)
from nlpkit.files import only_writer
from nlpkit.losses import CrossEntropyLoss
from nlpkit.mt5 import SummaryCorpus, new_mt5, train_vocabulary
from nlpkit.runs import (
    MetricsLog,
    RefuseDivergence,
    last_complete_checkpoint,
    markdown_table,
    model_card,
    parse_recipe_arguments,
    rows_per_step,
    run_recipe,
    save_finished_model,
    settle_facts,
)
from nlpkit.seq2seq import character_scores
from nlpkit.training import MetricsByDomain, bf16_is_fast, fast_attention, fused_gelu

OBJECTIVES = ["spans", "summaries", "pairs"]
PAIR_SUFFIXES = (".jsonl", ".json", ".gz", ".xz")


@dataclass
class Mt5TrainingArguments(Seq2SeqTrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/mt5"
    max_steps: int = field(default=1000, metadata={"help": "optimizer steps of the whole run"})
    per_device_train_batch_size: int = 32
    gradient_accumulation_steps: int = 2
    per_device_eval_batch_size: int = 32
    learning_rate: float = 2e-3
    lr_scheduler_type: str = "linear"
    warmup_steps: float = field(default=0.02, metadata={"help": "steps, or below 1 the share of max_steps"})
    weight_decay: float = 0.0
    optim: str = "adamw_torch_fused"
    bf16: bool = field(default=bf16_is_fast(), metadata={"help": "bf16 autocast; by default where it is faster"})
    use_cpu: bool = not torch.cuda.is_available()
    logging_steps: float = 50
    save_steps: float = 500
    save_total_limit: int | None = 2
    eval_strategy: str = "steps"
    eval_steps: float | None = 500
    dataloader_pin_memory: bool = torch.cuda.is_available()
    report_to: None | str | list[str] = "none"  # noqa: RUF036 - in this order alone HfArgumentParser can read it (5.23)


@dataclass
class Mt5Arguments:
    """What to train on what."""

    train_files: list[str] = field(
        metadata={"help": "globs of .txt, .gz or .xz files: one paragraph per line, one domain per file"}
    )
    pair_files: list[str] = field(
        default_factory=list, metadata={"help": "JSON lines with source and target, one domain per file"}
    )
    tokenizer_path: str | None = field(
        default=None, metadata={"help": "of T5's kind, with sentinels; without one, a vocabulary is made of the texts"}
    )
    vocabulary_size: int = field(default=10_000, metadata={"help": "ids in all, bytes and sentinels included"})
    fewer_pieces: bool = field(default=False, metadata={"help": "as many as few texts can give, if they are fewer"})
    vocabulary_lines: int = field(default=100_000, metadata={"help": "lines of the texts to make it of"})
    character_coverage: float = field(default=0.998, metadata={"help": "of characters; others are spelled in bytes"})
    objective_shares: list[str] = field(
        default_factory=lambda: ["spans=0.6", "summaries=0.4"],
        metadata={"help": "spans, summaries, pairs=share of the rows; 0 where not named"},
    )
    domain_shares: list[str] = field(
        default_factory=list, metadata={"help": "domain=share of it in each pass over spans; 1 where not named"}
    )
    summary_domain_shares: list[str] = field(default_factory=list, metadata={"help": "likewise, of pseudo-summaries"})
    pair_domain_shares: list[str] = field(default_factory=list, metadata={"help": "likewise, of pairs"})
    prefixes: list[str] = field(
        default_factory=list, metadata={"help": "summaries, or a domain of pairs=what stands before its sources"}
    )
    source_length: int = field(default=128, metadata={"help": "tokens; ends of longer sources of pairs are dropped"})
    target_length: int = field(default=64, metadata={"help": "tokens; pairs with longer targets are left out"})
    noise_share: float = field(default=0.15, metadata={"help": "of the tokens that spans take out"})
    mean_span_length: float = 3.0
    summary_share: float = field(default=0.25, metadata={"help": "of a document's characters, for its summary"})
    width: int = 256
    heads: int = 4
    feed_forward: int = field(default=512, metadata={"help": "width of the gated layers between"})
    encoder_layers: int = 5
    decoder_layers: int = 3
    bucket_rows: int = field(default=32, metadata={"help": "rows about as long; best a multiple of a batch"})
    run_lines: int = field(default=32, metadata={"help": "lines per run"})
    held_out_every: int = field(default=100, metadata={"help": "hold out one of so many runs of lines of each file"})
    max_eval_rows: int = field(default=64, metadata={"help": "held-out rows to evaluate on, per objective and domain"})
    written_domains: list[str] = field(
        default_factory=list, metadata={"help": "domains of pairs whose held-out targets are written and scored"}
    )
    num_proc: int | None = field(default=None, metadata={"help": "processes to tokenise with"})
    cache_dir: str | None = field(default=None, metadata={"help": "where tokenised rows are kept"})
    save_dtype: str = field(
        default="float32", metadata={"help": "of the final model", "choices": ["float32", "float16"]}
    )
    model_name: str = field(default="mt5", metadata={"help": "for the model card"})
    license: str | None = field(default=None, metadata={"help": "for the model card, e.g. mit"})
    notice: str | None = field(default=None, metadata={"help": "for the model card: where the texts come from"})


@dataclass
class Objective:
    """Rows of one kind, and what share of the run and of each pass they have."""

    name: str
    corpus: Corpus
    share: float
    domain_shares: dict[str, float]

    @property
    def domains(self) -> list[str]:
        """Names for the metrics."""
        return [f"{self.name}_{domain}" for domain in self.corpus.domains]


class Mt5Trainer(MetricsByDomain, TechniqueSeq2SeqTrainer):
    """Evaluates by objective and domain, and by what is written greedily."""

    objectives: Sequence[Objective]
    to_write: dict[str, list[Pair]]
    longest: tuple[int, int]

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        **generation: Any,
    ) -> dict[str, float]:
        """Loss and accuracy, then those of objectives, and ROUGE."""
        metrics = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix, **generation)
        more: dict[str, float] = {}
        for objective in self.objectives:
            found = [f"{metric_key_prefix}_{{}}_{domain}" for domain in objective.domains]
            targets = [metrics[name.format("targets")] for name in found]
            more[f"{metric_key_prefix}_targets_{objective.name}"] = sum(targets)
            for metric in ("loss", "accuracy"):
                values = [metrics[name.format(metric)] for name in found]
                more[f"{metric_key_prefix}_{metric}_{objective.name}"] = float(np.average(values, weights=targets))
        for domain, pairs in self.to_write.items():
            scores = character_scores(self.write([pair["source"] for pair in pairs]), [p["target"] for p in pairs])
            more[f"{metric_key_prefix}_rouge-l_{domain}"] = scores["rouge-l"]
        self.log(more)
        return metrics | more

    def write(self, sources: Sequence[str]) -> list[str]:
        """What the model writes for sources, prefixes included."""
        source_length, target_length = self.longest
        return generate_texts(
            self.model,  # type: ignore[arg-type]
            self.processing_class,  # type: ignore[arg-type]
            sources,
            max_new_tokens=target_length,
            max_source_length=source_length,
            overlong="truncate",
        )


def main(argv: list[str]) -> dict[str, float]:
    """Run the recipe and return the held-out metrics of the final model."""
    settings, args = parse_recipe_arguments([Mt5Arguments, Mt5TrainingArguments], argv)
    # Order and spans of the rows are functions of their numbers (BucketedMixture, SpanCorruptionCollator).
    args.train_sampling_strategy, args.remove_unused_columns = "sequential", False
    if args.max_steps < 1:
        raise ValueError(f"max_steps must be at least 1; got {args.max_steps}")
    longest_row(settings.source_length, settings.target_length, settings.noise_share, settings.mean_span_length)
    if settings.written_domains:
        character_scores(["好"], ["好"])  # says now, not after the training, if a package is missing
    output = Path(args.output_dir)
    find_text_files(settings.train_files)
    with only_writer(output) if args.process_index == 0 else nullcontext():
        return run(settings, args, output)


def run(settings: Mt5Arguments, args: Mt5TrainingArguments, output: Path) -> dict[str, float]:
    """Train from the last checkpoint on, evaluate, and save."""
    set_seed(args.seed)
    with args.main_process_first(desc="vocabulary"):
        tokenizer_folder = find_tokenizer(settings, args, output)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    objectives = read_objectives(settings, tokenizer)
    to_write = pairs_to_write(objectives, settings)
    model = new_model(settings, tokenizer)
    with args.main_process_first(desc="tokenising"):
        held_out = held_out_rows(objectives, settings)
        training = training_rows(objectives, settings, args)
    trainer = Mt5Trainer(
        model=model,
        args=args,
        data_collator=SpanCorruptionCollator(
            tokenizer, settings.noise_share, settings.mean_span_length, seed=args.seed
        ),
        train_dataset=training,
        eval_dataset=held_out,
        processing_class=tokenizer,
        callbacks=[MetricsLog(output / "metrics.jsonl"), RefuseDivergence()],
        loss=CrossEntropyLoss(),
        domain_names=[domain for objective in objectives for domain in objective.domains],
    )
    trainer.objectives, trainer.to_write = objectives, to_write
    trainer.longest = settings.source_length, settings.target_length
    checkpoint = last_complete_checkpoint(output)
    if trainer.is_world_process_zero():
        settle_facts(output / "run.json", run_facts(settings, args, objectives), begins=checkpoint is None)
    with fast_attention(model), fused_gelu(model):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_state()

    model.to(getattr(torch, settings.save_dtype)).float()  # the figures must be those of the saved weights
    final = trainer.evaluate(metric_key_prefix="final")
    metrics = {name.removeprefix("final_"): value for name, value in final.items() if name.startswith("final_")}
    if trainer.is_world_process_zero():
        facts = facts_for_card(settings, args, model, trainer.state.global_step)
        model.config.dropout_rate = MT5Config().dropout_rate  # for fine-tuning
        model.generation_config.max_new_tokens = settings.target_length
        save_finished_model(
            output / "model",
            model,
            AutoTokenizer.from_pretrained(tokenizer_folder),  # the other one has been told lengths
            dtype=settings.save_dtype,
            metrics=metrics,
            card=card_of(settings, facts, objectives, metrics),
            beside=list(Path(tokenizer_folder).glob("spiece.model")),
        )
    return metrics


def find_tokenizer(settings: Mt5Arguments, args: Mt5TrainingArguments, output: Path) -> str:
    """The folder of the tokenizer that was given, or of one that is made of a sample of the texts, once."""
    if settings.tokenizer_path is not None:
        return settings.tokenizer_path
    folder, files = output / "tokenizer", find_text_files(settings.train_files)
    if args.process_index == 0:
        facts = {
            "vocabulary_size": settings.vocabulary_size,
            "fewer_pieces": settings.fewer_pieces or None,
            "vocabulary_lines": settings.vocabulary_lines,
            "character_coverage": settings.character_coverage,
            "domain_shares": settings.domain_shares,
            "bytes of texts": {path.name: path.stat().st_size for path in files},
            "seed": args.seed,
        }
        settle_facts(output / "vocabulary.json", facts, begins=not folder.exists())
        if not folder.exists():
            print(f"Making a vocabulary of {settings.vocabulary_size:,} pieces ...", flush=True)
            lines = draw_lines(training_lines(settings), settings.vocabulary_lines, args.seed)
            coverage, fewer = settings.character_coverage, settings.fewer_pieces
            try:
                train_vocabulary(lines, settings.vocabulary_size, folder, character_coverage=coverage, fewer=fewer)
            except ValueError as error:
                raise ValueError(str(error).replace("size=", "vocabulary_size=", 1)) from error
    return str(folder)


def training_lines(settings: Mt5Arguments) -> Iterator[str]:
    """Lines that are not held out, of domains with a share below 1 only as large a part."""
    files = find_text_files(settings.train_files)
    shares = parse_shares(settings.domain_shares, sorted(set(map(domain_of, files))))
    for path in files:
        share = shares.get(domain_of(path), 1.0)
        lines = read_runs(path, settings.run_lines, lambda run: bool(run % settings.held_out_every))
        for number, line in enumerate(lines):
            if share >= 1 or int((number + 1) * share) > int(number * share):
                yield line


def new_model(settings: Mt5Arguments, tokenizer: PreTrainedTokenizerBase) -> MT5ForConditionalGeneration:
    """An mT5 with random weights, drawn from the current seed."""
    if settings.width % settings.heads:
        raise ValueError(f"width={settings.width} is no multiple of heads={settings.heads}")
    return new_mt5(
        MT5Config(
            vocab_size=len(tokenizer),
            d_model=settings.width,
            d_kv=settings.width // settings.heads,
            num_heads=settings.heads,
            d_ff=settings.feed_forward,
            num_layers=settings.encoder_layers,
            num_decoder_layers=settings.decoder_layers,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,  # less than a few passes over the text leaves little to overfit to
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )


def read_objectives(settings: Mt5Arguments, tokenizer: PreTrainedTokenizerBase) -> list[Objective]:
    """The objectives that have a share, each with the files whose domains have one."""
    shares = parse_shares(settings.objective_shares, OBJECTIVES, "objective_shares")
    if shares.get("pairs") and not settings.pair_files:
        raise ValueError("objective_shares gives pairs a share, but there are no pair_files")
    if not any(shares.values()):
        raise ValueError(f"objective_shares leaves nothing to learn; give a share to one of {', '.join(OBJECTIVES)}")
    texts = find_text_files(settings.train_files)
    pair_files = find_text_files(settings.pair_files, PAIR_SUFFIXES) if settings.pair_files else []
    prefixes = parse_prefixes(settings.prefixes, ["summaries", *map(domain_of, pair_files)])
    runs = {"run_lines": settings.run_lines, "held_out_every": settings.held_out_every}
    lengths = {"source_length": settings.source_length, "target_length": settings.target_length}
    found = []
    for name, setting, files in (
        ("spans", "domain_shares", texts),
        ("summaries", "summary_domain_shares", texts),
        ("pairs", "pair_domain_shares", pair_files),
    ):
        own = parse_shares(getattr(settings, setting), sorted(set(map(domain_of, files))), setting)
        used = [path for path in files if own.get(domain_of(path), 1.0)]
        if not shares.get(name):
            continue
        if not used:
            raise ValueError(f"{setting} leaves no domain to learn from; give {name} no share instead")
        corpus: Corpus
        if name == "spans":
            block = longest_row(**lengths, share=settings.noise_share, mean_length=settings.mean_span_length)
            corpus = PackedCorpus(used, tokenizer, block, **runs)
        elif name == "summaries":
            before = {domain_of(path): prefixes.get(name, "") for path in used}
            corpus = SummaryCorpus(
                used, tokenizer, **lengths, prefixes=before, summary_share=settings.summary_share, **runs
            )
        else:
            corpus = PairCorpus(used, tokenizer, **lengths, prefixes=prefixes, **runs)
        found.append(Objective(name, corpus, shares[name], own))
    return found


def parse_prefixes(prefixes: Sequence[str], domains: Sequence[str]) -> dict[str, str]:
    """What stands before sources, by domain."""
    parsed: dict[str, str] = {}
    for given in prefixes:
        domain, _, parsed[domain] = given.partition("=")
        if domain not in domains or not parsed[domain]:
            raise ValueError(f"prefixes must look like {domains[0]}=摘要：, of {', '.join(domains)}; got {given!r}")
    return parsed


def held_out_rows(objectives: Sequence[Objective], settings: Mt5Arguments) -> list[dict[str, Any]]:
    """At most ``max_eval_rows`` rows per objective and domain, each with its own number for its spans."""
    found: list[dict[str, Any]] = []
    domains = 0
    for objective in objectives:
        rows = objective.corpus.dataset(held_out=True, num_proc=settings.num_proc, cache_dir=settings.cache_dir)
        chosen = spread_over_domains(rows, settings.max_eval_rows)
        found += [row | {"domain": domains + row["domain"]} for row in chosen]
        domains += len(objective.domains)
    return number_for_evaluation(found)


def training_rows(
    objectives: Sequence[Objective], settings: Mt5Arguments, args: Mt5TrainingArguments
) -> BucketedMixture:
    """The rows of the whole run in order, so that one epoch of the Trainer is the run."""
    draws = args.max_steps * rows_per_step(args)
    parts, lengths = [], []
    for objective in objectives:
        rows = objective.corpus.dataset(held_out=False, num_proc=settings.num_proc, cache_dir=settings.cache_dir)
        shares = [objective.domain_shares.get(domain, 1.0) for domain in objective.corpus.domains]
        parts.append(Mixture(rows, domains=np.array(rows["domain"]), shares=shares, draws=draws, seed=args.seed))
        lengths.append(row_lengths(rows))
    return BucketedMixture(
        parts,
        lengths,
        [objective.share for objective in objectives],
        draws=draws,
        bucket_rows=settings.bucket_rows,
        seed=args.seed,
    )


def pairs_to_write(objectives: Sequence[Objective], settings: Mt5Arguments) -> dict[str, list[Pair]]:
    """Held-out pairs of the domains that are scored, with their prefixes."""
    found = {}
    for domain in settings.written_domains:
        corpus = next((one.corpus for one in objectives if one.name == "pairs"), None)
        paths = [path for path in corpus.files if domain_of(path) == domain] if corpus else []
        if not paths or not isinstance(corpus, PairCorpus):
            raise ValueError(f"written_domains names {domain!r}, which is no domain of pairs that is trained on")
        pairs = [pair for path in paths for pair in corpus.pairs(path, held_out=True)][: settings.max_eval_rows]
        found[domain] = [pair | {"source": corpus.prefixes.get(domain, "") + pair["source"]} for pair in pairs]
    return found


def run_facts(settings: Mt5Arguments, args: Mt5TrainingArguments, objectives: Sequence[Objective]) -> dict[str, Any]:
    """What decides the model and the rows that each step sees; it must not change during a run."""
    return {
        "data": {objective.name: objective.corpus.fingerprint(held_out=False) for objective in objectives},
        "objective_shares": {objective.name: objective.share for objective in objectives},
        "domain_shares": {objective.name: objective.domain_shares for objective in objectives},
        "rows_per_step": rows_per_step(args),
        "bucket_rows": settings.bucket_rows,
        "spans": [settings.noise_share, settings.mean_span_length],
        "width": settings.width,
        "heads": settings.heads,
        "feed_forward": settings.feed_forward,
        "layers": [settings.encoder_layers, settings.decoder_layers],
        "seed": args.seed,
    }


def facts_for_card(
    settings: Mt5Arguments, args: Mt5TrainingArguments, model: MT5ForConditionalGeneration, steps: int
) -> dict[str, str | int | float]:
    """What the model card says about the model and its training."""
    schedule = TrainingArguments.to_dict(args)["lr_scheduler_type"]
    return {
        "architecture": f"mT5, head not tied, {settings.encoder_layers} encoder and {settings.decoder_layers} decoder "
        f"layers of {settings.width}, {settings.heads} heads, gated layers of {settings.feed_forward}",
        "vocabulary": model.config.vocab_size,
        "parameters": model.num_parameters(),
        "steps": steps,
        "rows per step": rows_per_step(args),
        "longest source and target": f"{settings.source_length} and {settings.target_length} tokens",
        "objectives": ", ".join(settings.objective_shares),
        "spans": f"{settings.noise_share:.0%} of the tokens, {settings.mean_span_length:g} each on average",
        "pseudo-summaries": f"{settings.summary_share:.0%} of a document",
        "optimizer": f"{TrainingArguments.to_dict(args)['optim']}, weight decay {args.weight_decay:g}",
        "learning rate": f"{args.learning_rate:g}, {schedule}, warm-up {args.warmup_steps:g}",
        "dropout": "0 in pre-training; config.json has 0.1, for fine-tuning",
        "precision": f"{'bf16 autocast' if args.bf16 else 'fp32'}, saved as {settings.save_dtype}",
        "seed": args.seed,
    }


def card_of(
    settings: Mt5Arguments,
    facts: dict[str, str | int | float],
    objectives: Sequence[Objective],
    metrics: dict[str, float],
) -> str:
    """The card as Markdown with a header, as the Hub reads it."""
    header = ModelCardData(
        language="zh", library_name="transformers", tags=["mt5", "text2text-generation"], license=settings.license
    )
    prefixes = parse_prefixes(settings.prefixes, [prefix.partition("=")[0] for prefix in settings.prefixes])
    before = "".join(f"\n- `{prefix}` for {domain}" for domain, prefix in prefixes.items())
    first = next((prefixes[domain] for domain in settings.written_domains if domain in prefixes), "")
    about = f"""\
A small encoder-decoder of mT5's kind with a vocabulary of its own, pre-trained from nothing by nlpkit's
`recipes/mt5_pretrain.py`.

## Use

```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

folder = "path/to/{settings.model_name}"
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
batch = tokenizer("{first}今天上午，我国在酒泉卫星发射中心成功发射一颗气象卫星。", return_tensors="pt")
print(tokenizer.decode(model.generate(**batch)[0], skip_special_tokens=True))
```

It reads up to {settings.source_length} tokens. `<extra_id_0>` and so on stand for a gap to fill\
{f". What stands before a source tells the task:{chr(10)}{before}" if before else "."}"""
    rows = []
    for objective in objectives:
        names = [*zip(objective.corpus.domains, objective.domains, strict=True), ("**all**", objective.name)]
        for domain, name in names:
            share = "" if domain == "**all**" else f"{objective.domain_shares.get(domain, 1.0):g}"
            targets, loss, accuracy = (metrics[f"{metric}_{name}"] for metric in ("targets", "loss", "accuracy"))
            rows.append([objective.name, domain, share, f"{targets:,.0f}", f"{loss:.3f}", f"{accuracy:.3f}"])
    head = ["objective", "domain", "share in a pass", "tokens", "loss (nats)", "accuracy"]
    rouge = [[domain, f"{metrics[f'rouge-l_{domain}']:.3f}"] for domain in settings.written_domains]
    results = f"""\
Target tokens of text that was held out, each after the right ones before it; with the same data, vocabulary and seed,
the same tokens.

{markdown_table(head, rows)}
"""
    if rouge:
        results += f"""
ROUGE-L by characters of at most {settings.max_eval_rows} held-out targets per domain, written greedily.

{markdown_table(["domain", "ROUGE-L"], rouge, numbers_from=1)}
"""
    return model_card(settings.model_name, header, about=about, facts=facts, results=results, notice=settings.notice)


if __name__ == "__main__":
    run_recipe(main)
