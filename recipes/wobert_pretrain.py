"""Continued masked-LM pre-training of a word-level Chinese BERT on raw text.

Source: WoBERT (kexue.fm/archives/7758): a BERT whose vocabulary holds words is trained further with the masked-LM
loss. Every token is a word, so every mask is a whole-word mask.

    python recipes/wobert_pretrain.py recipes/configs/wobert_pretrain/mini_zh.yaml --learning_rate 3e-4
    accelerate launch --multi_gpu --num_processes 2 recipes/wobert_pretrain.py CONFIG.yaml
    accelerate launch --use_fsdp --fsdp_version 2 --num_processes 2 recipes/wobert_pretrain.py CONFIG.yaml

Call it again after an interruption, kill -9 included: it continues from the last checkpoint in ``output_dir`` and
logs the losses that the uninterrupted run would have logged. See docs/pretraining.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelCardData
from torch.utils.data import Dataset
from transformers import TrainingArguments, set_seed

from nlpkit.data import (
    MaskedTokenCollator,
    Mixture,
    PackedCorpus,
    PackedStream,
    find_text_files,
    number_for_evaluation,
    parse_shares,
    spread_over_domains,
)
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
from nlpkit.sources import find_model
from nlpkit.training import MaskedLMTrainer, bf16_is_fast
from nlpkit.wobert import WoBertConfig, WoBertForMaskedLM, WoBertTokenizer, last_state_rms, rescale_last_states


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
    bf16: bool = field(default=bf16_is_fast(), metadata={"help": "bf16 autocast; by default where it is faster"})
    use_cpu: bool = not torch.cuda.is_available()
    logging_steps: float = 50
    save_steps: float = 500
    save_total_limit: int | None = 2
    eval_strategy: str = "steps"
    eval_steps: float | None = 500
    dataloader_pin_memory: bool = torch.cuda.is_available()


@dataclass
class WoBertArguments:
    """What to train on what."""

    model_path: str = field(metadata={"help": "model to start from: folder, shipped name, or Hub repository"})
    train_files: list[str] = field(
        metadata={"help": "globs of .txt, .gz or .xz files: one paragraph per line, one domain per file"}
    )
    domain_shares: list[str] = field(
        default_factory=list, metadata={"help": "domain=share of it in each pass over the data; 1 where not named"}
    )
    block_size: int = field(default=128, metadata={"help": "tokens per row"})
    held_out_every: int = field(default=100, metadata={"help": "hold out one of so many runs of lines of each file"})
    run_lines: int = field(default=32, metadata={"help": "lines per run"})
    max_eval_rows: int = field(default=128, metadata={"help": "held-out rows to evaluate on, per domain"})
    mask_probability: float = 0.15
    mask_share: float = field(default=0.8, metadata={"help": "share of the targets shown as [MASK]"})
    random_share: float = field(default=0.1, metadata={"help": "share of the targets shown as another token"})
    dropout: float | None = field(
        default=None, metadata={"help": "of hidden states and attention while training; the saved model keeps its own"}
    )
    attn_implementation: str = field(
        default="sdpa" if torch.cuda.is_available() else "eager",
        metadata={"help": "of transformers; on CPUs with bf16, torch's fused attention is slow backwards"},
    )
    streaming: bool = field(default=False, metadata={"help": "tokenise while training instead of once beforehand"})
    shuffle_buffer: int = field(default=10_000, metadata={"help": "rows in the shuffle buffer of a stream"})
    num_proc: int | None = field(default=None, metadata={"help": "processes to tokenise with"})
    cache_dir: str | None = field(default=None, metadata={"help": "where tokenised rows are kept"})
    rescale_states: bool = field(
        default=True,
        metadata={"help": "bring the final model's last states to a usual scale, which its masked-LM head undoes"},
    )
    save_dtype: str = field(
        default="float32", metadata={"help": "of the final model", "choices": ["float32", "float16"]}
    )
    model_name: str = field(default="wobert", metadata={"help": "for the model card"})
    license: str | None = field(default=None, metadata={"help": "for the model card, e.g. mit"})
    notice: str | None = field(
        default=None, metadata={"help": "for the model card: where weights and texts come from"}
    )


def main(argv: list[str]) -> dict[str, float]:
    """Run the recipe and return the held-out metrics of the final model."""
    settings, args = parse_recipe_arguments([WoBertArguments, PretrainingArguments], argv)
    # The order of the rows and their masks are functions of their numbers (Mixture, MaskedTokenCollator).
    args.train_sampling_strategy, args.remove_unused_columns = "sequential", False
    if args.max_steps < 1:
        raise ValueError(f"max_steps must be at least 1; got {args.max_steps}")
    set_seed(args.seed)

    settings.model_path = find_model(settings.model_path)
    tokenizer = WoBertTokenizer.from_pretrained(settings.model_path)
    model = load_model(settings, tokenizer)
    corpus = PackedCorpus(
        files=find_text_files(settings.train_files),
        tokenizer=tokenizer,
        block_size=settings.block_size,
        run_lines=settings.run_lines,
        held_out_every=settings.held_out_every,
    )
    shares = parse_shares(settings.domain_shares, corpus.domains)
    with args.main_process_first(desc="tokenising"):
        held_out = held_out_rows(corpus, settings)
        training = training_rows(corpus, shares, settings, args)
    unknown = unknown_share(held_out, tokenizer)

    trainer = MaskedLMTrainer(
        model=model,
        args=args,
        data_collator=MaskedTokenCollator(
            tokenizer, settings.mask_probability, settings.mask_share, settings.random_share, seed=args.seed
        ),
        train_dataset=training,
        eval_dataset=held_out,
        processing_class=tokenizer,
        callbacks=[MetricsLog(Path(args.output_dir) / "metrics.jsonl"), RefuseDivergence()],
        domain_names=corpus.domains,
    )
    checkpoint = last_complete_checkpoint(args.output_dir)
    if trainer.is_world_process_zero():
        settle_facts(Path(args.output_dir) / "run.json", run_facts(settings, args, corpus), begins=checkpoint is None)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_state()

    scale = 1.0
    if settings.rescale_states:
        with trainer.unsharded():
            rms = torch.tensor(last_state_rms(model, trainer.get_eval_dataloader()), device=args.device)
        # One for all processes, each of which has seen rows of its own.
        scale = rescale_last_states(model, float(trainer.accelerator.reduce(rms, "mean")))
    model.to(getattr(torch, settings.save_dtype)).float()  # the figures must be those of the saved weights
    final = trainer.evaluate(metric_key_prefix="final")
    metrics = {name.removeprefix("final_"): value for name, value in final.items() if name.startswith("final_")}
    facts = facts_for_card(settings, args, model, trainer.state.global_step)
    gathered = trainer.whole_state_dict() if trainer.is_fsdp_enabled else None
    if trainer.is_world_process_zero():
        # As it was before training: dropout, and logits at all positions.
        model.config = WoBertConfig.from_pretrained(settings.model_path)
        facts |= {
            "last hidden states": f"multiplied by {scale:g}, which the masked-LM head divides out again",
            "unknown held-out tokens": f"{unknown:.2%}",
        }
        domains = {domain: shares.get(domain, 1.0) for domain in corpus.domains}
        save_finished_model(
            Path(args.output_dir) / "model",
            model,
            tokenizer,
            dtype=settings.save_dtype,
            metrics=metrics,
            card=card_of(settings, facts, domains, metrics),
            state_dict=gathered,
        )
    return metrics


def load_model(settings: WoBertArguments, tokenizer: WoBertTokenizer) -> WoBertForMaskedLM:
    """Load the start model, refusing a tokenizer that does not fit it."""
    config = WoBertConfig.from_pretrained(settings.model_path, sparse_prediction=True)
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"{settings.model_path}: the tokenizer has {len(tokenizer)} tokens, the model only {config.vocab_size}; "
            "make the folder with `nlpkit wordify`, which writes both"
        )
    if settings.block_size > config.max_position_embeddings:
        raise ValueError(
            f"block_size is {settings.block_size}, but the model has only {config.max_position_embeddings} positions"
        )
    if settings.dropout is not None:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = settings.dropout
    return WoBertForMaskedLM.from_pretrained(
        settings.model_path, config=config, attn_implementation=settings.attn_implementation, dtype=torch.float32
    )


def held_out_rows(corpus: PackedCorpus, settings: WoBertArguments) -> list[dict[str, Any]]:
    """At most ``max_eval_rows`` rows per domain, each with its own number for its mask.

    They are spread evenly over the domain, or in a stream, which is not read to its end, the first of each file.
    """
    if settings.streaming:
        return number_for_evaluation(corpus.first_held_out_rows(settings.max_eval_rows))
    rows = corpus.dataset(held_out=True, num_proc=settings.num_proc, cache_dir=settings.cache_dir)
    return number_for_evaluation(spread_over_domains(rows, settings.max_eval_rows))


def unknown_share(rows: list[dict[str, Any]], tokenizer: WoBertTokenizer) -> float:
    """The share of [UNK] in the held-out text, refusing a vocabulary that was made for another language."""
    ids = np.concatenate([row["input_ids"] for row in rows])
    share = float((ids == tokenizer.unk_token_id).mean())
    if share > 0.5:
        raise ValueError(
            f"{share:.0%} of the held-out tokens are {tokenizer.unk_token}: the vocabulary does not fit the texts; "
            "build one from them with `nlpkit.build_vocabulary`, or check train_files"
        )
    return share


def training_rows(
    corpus: PackedCorpus, shares: Mapping[str, float], settings: WoBertArguments, args: PretrainingArguments
) -> Dataset[dict[str, Any]]:
    """The rows of the whole run in order, so that one epoch of the Trainer is the run."""
    if settings.streaming:
        return PackedStream(corpus, shares, settings.shuffle_buffer, args.seed)
    rows = corpus.dataset(held_out=False, num_proc=settings.num_proc, cache_dir=settings.cache_dir)
    return Mixture(
        rows,
        domains=np.array(rows["domain"]),
        shares=[shares.get(domain, 1.0) for domain in corpus.domains],
        draws=args.max_steps * rows_per_step(args),
        seed=args.seed,
    )


def run_facts(settings: WoBertArguments, args: PretrainingArguments, corpus: PackedCorpus) -> dict[str, Any]:
    """What decides which rows and masks each step sees; it must not change during a run."""
    streamed = [settings.shuffle_buffer, args.dataloader_num_workers] if settings.streaming else None
    return {
        "data": corpus.fingerprint(held_out=False),
        "domain_shares": parse_shares(settings.domain_shares, corpus.domains),
        "rows_per_step": rows_per_step(args),
        "masking": [settings.mask_probability, settings.mask_share, settings.random_share],
        "seed": args.seed,
        "shuffle_buffer_and_workers": streamed,
    }


def facts_for_card(
    settings: WoBertArguments, args: PretrainingArguments, model: WoBertForMaskedLM, steps: int
) -> dict[str, str | int | float]:
    """What the model card says about the model and its training."""
    config = model.config
    tokens_per_step = rows_per_step(args) * settings.block_size
    schedule = TrainingArguments.to_dict(args)["lr_scheduler_type"]
    return {
        "started from": Path(settings.model_path).name,
        "layers x width": f"{config.num_hidden_layers} x {config.hidden_size}",
        "vocabulary": config.vocab_size,
        "parameters": model.num_parameters(),
        "steps": steps,
        "tokens per step": tokens_per_step,
        "tokens seen": steps * tokens_per_step,
        "length of a row": settings.block_size,
        "targets": f"{settings.mask_probability:.0%} of the tokens, {settings.mask_share:.0%} of them masked, "
        f"{settings.random_share:.0%} replaced",
        "learning rate": f"{args.learning_rate:g}, {schedule}, warm-up {args.warmup_steps:g}",
        "weight decay": args.weight_decay,
        "dropout": config.hidden_dropout_prob,
        "precision": f"{'bf16 autocast' if args.bf16 else 'fp32'}, saved as {settings.save_dtype}",
        "seed": args.seed,
    }


def card_of(
    settings: WoBertArguments,
    facts: Mapping[str, str | int | float],
    domains: Mapping[str, float],
    metrics: Mapping[str, float],
) -> str:
    """The card as Markdown with a header, as the Hub reads it."""
    header = ModelCardData(
        language="zh",
        library_name="nlpkit",
        pipeline_tag="fill-mask",
        tags=["wobert", "fill-mask"],
        license=settings.license,
    )
    about = f"""\
A masked language model whose tokens are Chinese words, made by nlpkit's `recipes/wobert_pretrain.py`.

## Use

```python
import nlpkit
from transformers import pipeline

fill = pipeline("fill-mask", model="path/to/{settings.model_name}")
print(fill("酒店的服务态度很[MASK]。"))
```

`import nlpkit` comes first: it registers the word tokenizer and the model with transformers."""
    rows = []
    for domain in (*domains, ""):
        suffix = f"_{domain}" if domain else ""
        targets, loss, accuracy = (metrics[f"{name}{suffix}"] for name in ("targets", "loss", "accuracy"))
        label = [domain, f"{domains[domain]:g}"] if domain else ["**all**", ""]
        rows.append([*label, f"{targets:,.0f}", f"{loss:.3f}", f"{accuracy:.3f}"])
    head = ["domain", "share in training", "masked tokens", "loss (nats)", "accuracy"]
    results = f"""\
Masked tokens of text that was held out; with the same data, vocabulary and seed, the same tokens.

{markdown_table(head, rows, numbers_from=1)}"""
    return model_card(settings.model_name, header, about=about, facts=facts, results=results, notice=settings.notice)


if __name__ == "__main__":
    run_recipe(main)
