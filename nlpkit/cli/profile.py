"""``nlpkit profile``: what each way of fine-tuning costs on your own model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nlpkit.cli.inputs import InspectedModel
from nlpkit.sources import find_model


def profile(
    model: InspectedModel = "wobert-mini-zh",
    batch_size: Annotated[int, typer.Option(help="Rows per batch.")] = 16,
    length: Annotated[int, typer.Option(help="Tokens per row.")] = 128,
    labels: Annotated[int, typer.Option(help="Classes of the head.")] = 2,
    rounds: Annotated[int, typer.Option(help="Timed steps per way.")] = 5,
    bf16: Annotated[bool, typer.Option(help="Compute in bf16.")] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Measure memory and time of a training step: full, LoRA, BitFit, ladder, tuned from a layer, with kept taps.

    Ways that the model cannot be trained in are left out, and why is said.
    """
    import torch
    from rich.console import Console
    from transformers import AutoModelForSequenceClassification

    from nlpkit.extras import install_hint
    from nlpkit.files import write_json
    from nlpkit.ladder_side_tuning import ladder_ways
    from nlpkit.probes import possible_ways, profile_table, profile_tuning, room_for_tokens, standard_ways

    if min(batch_size, length, labels, rounds) < 1:
        raise ValueError("--batch-size, --length, --labels and --rounds must be at least 1")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = AutoModelForSequenceClassification.from_pretrained(
        find_model(model), num_labels=labels, dtype="float32"
    ).to(device)
    limit = room_for_tokens(found)
    if limit is not None and length > limit:
        raise ValueError(f"--length {length} is over the model's limit of {limit} tokens")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(found.config.vocab_size, (batch_size, length), generator=generator)
    batch = {
        "input_ids": ids.to(device),
        "attention_mask": torch.ones_like(ids).to(device),
        "labels": torch.arange(batch_size).remainder(labels).to(device),
    }
    ways, refused = possible_ways(found, batch, standard_ways() | ladder_ways())
    if "LoRA" not in ways | refused:
        refused["LoRA"] = f"peft is not installed; {install_hint('peft')}"
    for name, reason in refused.items():
        typer.echo(f"left out: {name}: {reason}", err=True)
    profiles = profile_tuning(found, batch, ways=ways, rounds=rounds, autocast=torch.bfloat16 if bf16 else None)
    Console().print(profile_table(profiles))
    if output is not None:
        write_json(output, [asdict(item) for item in profiles])
