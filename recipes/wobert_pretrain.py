"""Continued masked-LM pre-training of a word-level Chinese BERT on raw text.

Source: WoBERT (kexue.fm/archives/7758): a BERT whose vocabulary holds words goes on training with the masked-LM loss.
Every token is a word, so every mask is a whole-word mask.

    python recipes/wobert_pretrain.py recipes/configs/wobert_pretrain/mini_zh.yaml --learning_rate 3e-4
    accelerate launch --num_processes 2 recipes/wobert_pretrain.py recipes/configs/wobert_pretrain/mini_zh.yaml

Call it again after an interruption, kill -9 included: it goes on from the last checkpoint in ``output_dir`` and logs
the losses that the uninterrupted run would have logged. See docs/pretraining.md.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import TrainingArguments, set_seed

from nlpkit import __version__
from nlpkit.training.checkpoints import last_complete_checkpoint
from nlpkit.training.masked_lm import MaskedLMTrainer
from nlpkit.training.masking import MaskedTokenCollator
from nlpkit.training.metrics_log import MetricsLog
from nlpkit.training.mixture import Mixture
from nlpkit.training.model_card import MaskedLMCard
from nlpkit.training.packed_corpus import PackedCorpus, PackedStream
from nlpkit.training.recipe_arguments import parse_recipe_arguments
from nlpkit.training.text_corpus import find_text_files
from nlpkit.wobert.modeling import WoBertForMaskedLM
from nlpkit.wobert.tokenizer import WoBertTokenizer


@dataclass
class PretrainingArguments(TrainingArguments):
    """The Trainer's settings, with this recipe's defaults."""

    output_dir: str = "runs/wobert"
    max_steps: int = field(default=1000, metadata={"help": "optimizer steps of the whole run"})
    per_device_train_batch_size: int = 24
    learning_rate: float = 6e-4
    lr_scheduler_type: str = "linear"
    warmup_steps: float = field(default=0.02, metadata={"help": "steps, or below 1 the share of max_steps"})
    weight_decay: float = 0.01
    optim: str = "adamw_torch_fused"
    bf16: bool = True
    logging_steps: float = 50
    save_steps: float = 500
    save_total_limit: int | None = 2
    eval_strategy: str = "steps"
    eval_steps: float | None = 500

    def __post_init__(self) -> None:
        self.use_cpu = self.use_cpu or not torch.cuda.is_available()
        self.dataloader_pin_memory = self.dataloader_pin_memory and not self.use_cpu
        super().__post_init__()


@dataclass
class WoBertArguments:
    """What to train on what."""

    model_path: str = field(metadata={"help": "folder of the model to start from, as `nlpkit wordify` writes it"})
    train_files: list[str] = field(metadata={"help": "globs of .txt, .gz or .xz files: a paragraph a line, a domain a file"})
    domain_shares: list[str] = field(
        default_factory=list, metadata={"help": "domain=share of it in each pass over the data; 1 where not named"}
    )
    block_size: int = field(default=128, metadata={"help": "tokens a row"})
    held_out_every: int = field(default=100, metadata={"help": "hold out one of so many runs of lines of each file"})
    run_lines: int = field(default=32, metadata={"help": "lines a run"})
    max_eval_rows: int = field(default=128, metadata={"help": "held-out rows to evaluate on, a domain"})
    mask_probability: float = 0.15
    mask_share: float = field(default=0.8, metadata={"help": "share of the targets shown as [MASK]"})
    random_share: float = field(default=0.1, metadata={"help": "share of the targets shown as another token"})
    streaming: bool = field(default=False, metadata={"help": "tokenise while training instead of once beforehand"})
    shuffle_buffer: int = field(default=10_000, metadata={"help": "rows in the shuffle buffer of a stream"})
    num_proc: int | None = field(default=None, metadata={"help": "processes to tokenise with"})
    cache_dir: str | None = field(default=None, metadata={"help": "where tokenised rows are kept"})
    save_dtype: str = field(default="float32", metadata={"help": "of the final model", "choices": ["float32", "float16"]})
    model_name: str = field(default="wobert", metadata={"help": "for the model card"})
    license: str | None = field(default=None, metadata={"help": "for the model card, e.g. mit"})
    notice: str | None = field(default=None, metadata={"help": "for the model card: where weights and texts come from"})


def main(argv: list[str]) -> dict[str, float]:
    """Run the recipe and return the held-out metrics of the final model."""
    settings, args = parse_recipe_arguments([WoBertArguments, PretrainingArguments], argv)
    # The order of the rows and their masks are functions of their numbers (Mixture, MaskedTokenCollator).
    args.train_sampling_strategy, args.remove_unused_columns = "sequential", False
    set_seed(args.seed)

    tokenizer = WoBertTokenizer.from_pretrained(settings.model_path)
    model = load_model(settings.model_path, tokenizer)
    corpus = PackedCorpus(
        files=find_text_files(settings.train_files),
        tokenizer=tokenizer,
        block_size=settings.block_size,
        run_lines=settings.run_lines,
        held_out_every=settings.held_out_every,
    )
    with args.main_process_first(desc="tokenising"):
        held_out = held_out_rows(corpus, settings)
        training = training_rows(corpus, settings, args)

    trainer = MaskedLMTrainer(
        model=model,
        args=args,
        data_collator=MaskedTokenCollator(
            tokenizer, settings.mask_probability, settings.mask_share, settings.random_share, seed=args.seed
        ),
        train_dataset=training,
        eval_dataset=held_out,
        processing_class=tokenizer,
        callbacks=[MetricsLog(Path(args.output_dir) / "metrics.jsonl")],
        domain_names=corpus.domains,
    )
    checkpoint = last_complete_checkpoint(args.output_dir)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.model.to(getattr(torch, settings.save_dtype)).float()  # the figures shall be those of the saved weights
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        save_final(trainer, settings, corpus, metrics)
    return metrics


def load_model(path: str, tokenizer: WoBertTokenizer) -> WoBertForMaskedLM:
    """Load the start model, refusing a tokenizer that does not fit it."""
    model = WoBertForMaskedLM.from_pretrained(path)
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"{path}: the tokenizer has {len(tokenizer)} tokens, the model only {model.config.vocab_size}; "
            "make the folder with `nlpkit wordify`, which writes both"
        )
    model.config.sparse_prediction = True
    return model


def held_out_rows(corpus: PackedCorpus, settings: WoBertArguments) -> Dataset[dict[str, Any]]:
    """At most ``max_eval_rows`` rows a domain, spread evenly, each with a number of its own for its mask."""
    rows = corpus.dataset(held_out=True, num_proc=settings.num_proc, cache_dir=settings.cache_dir)
    domains = np.array(rows["domain"])
    chosen = []
    for domain in range(len(corpus.domains)):
        own = np.flatnonzero(domains == domain)
        chosen.extend(own[np.linspace(0, len(own) - 1, min(len(own), settings.max_eval_rows)).astype(int)])
    # Negative draws: masks that no training row gets.
    return [row | {"draw": -1 - number} for number, row in enumerate(rows.select(chosen))]


def training_rows(corpus: PackedCorpus, settings: WoBertArguments, args: PretrainingArguments) -> Dataset[dict[str, Any]]:
    """The rows of the whole run in order, so that one epoch of the Trainer is the run."""
    shares = parse_shares(settings.domain_shares, corpus.domains)
    if settings.streaming:
        return PackedStream(corpus, shares, settings.shuffle_buffer, args.seed)
    rows = corpus.dataset(held_out=False, num_proc=settings.num_proc, cache_dir=settings.cache_dir)
    return Mixture(
        rows,
        domains=np.array(rows["domain"]),
        shares=[shares.get(domain, 1.0) for domain in corpus.domains],
        draws=args.max_steps * args.gradient_accumulation_steps * args.train_batch_size * args.world_size,
        seed=args.seed,
    )


def parse_shares(shares: list[str], domains: list[str]) -> dict[str, float]:
    """Read ``["law=0.33"]``, refusing domains that there are not."""
    parsed = {}
    for share in shares:
        domain, _, value = share.partition("=")
        if domain not in domains:
            raise ValueError(f"domain_shares names {domain!r}; the domains are {', '.join(domains)}")
        parsed[domain] = float(value)
    return parsed


def save_final(
    trainer: MaskedLMTrainer, settings: WoBertArguments, corpus: PackedCorpus, metrics: dict[str, float]
) -> None:
    """Write ``output_dir/model`` (model, tokenizer, results, card) in one piece."""
    folder = Path(trainer.args.output_dir) / "model"
    temporary = folder.with_name("model.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.config.sparse_prediction = False
    model.to(getattr(torch, settings.save_dtype)).save_pretrained(temporary)
    corpus.tokenizer.save_pretrained(temporary)
    (temporary / "results.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    (temporary / "README.md").write_text(model_card(trainer, settings, corpus, metrics).render(), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def model_card(
    trainer: MaskedLMTrainer, settings: WoBertArguments, corpus: PackedCorpus, metrics: dict[str, float]
) -> MaskedLMCard:
    """What is known at the end of the run."""
    args, steps = trainer.args, trainer.state.global_step
    rows_a_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    shares = parse_shares(settings.domain_shares, corpus.domains)
    return MaskedLMCard(
        name=settings.model_name,
        license=settings.license,
        notice=settings.notice,
        facts={
            "parameters": trainer.model.num_parameters(),
            "vocabulary": len(corpus.tokenizer),
            "layers x width": f"{trainer.model.config.num_hidden_layers} x {trainer.model.config.hidden_size}",
            "started from": Path(settings.model_path).name,
            "steps": steps,
            "tokens a step": rows_a_step * settings.block_size,
            "tokens seen": steps * rows_a_step * settings.block_size,
            "length of a row": settings.block_size,
            "targets": f"{settings.mask_probability:.0%} of the tokens, {settings.mask_share:.0%} of them masked, "
            f"{settings.random_share:.0%} replaced",
            "learning rate": f"{args.learning_rate:g}, {args.lr_scheduler_type.value}, warm-up {args.warmup_steps:g}",
            "optimizer": f"{args.optim.value}, weight decay {args.weight_decay:g}",
            "precision": f"{'bf16 autocast' if args.bf16 else 'fp32'}, saved as {settings.save_dtype}",
            "seed": args.seed,
        },
        domains={domain: shares.get(domain, 1.0) for domain in corpus.domains},
        metrics=metrics,
        nlpkit_version=__version__,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
