"""What docs/scale.md calculates with: the cost of a byte of text, of a kept tap, and of a token of a pass or a step.

    python benchmarks/scale_arithmetic.py        # under three minutes; writes benchmarks/results/scale_arithmetic.json
    python benchmarks/scale_arithmetic.py --small --out FILE                           # seconds, to see that it works

Everything is measured on one thread, in seconds of the processor, so that figures are per core, and at two sizes: the
slope comes from the first, predicts the second, and the ratio of measured to predicted stands beside it
(`scale_formulas.py`). Needs the public data beside the checkout (NLPKIT_DATA), `peft` and `bitsandbytes`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from report import Headline, options_of, write_report
from rounds import Budget, take_turns
from scale_formulas import TASKS, figures, tables
from scale_texts import SIZES, in_a_process
from tqdm import tqdm
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForSequenceClassification

from nlpkit.ladder_side_tuning import LadderConfig, LadderModel, get_ladder_model
from nlpkit.ladder_side_tuning.taps.caching import estimate_tap_bytes
from nlpkit.probes import lora, saved_activation_bytes
from nlpkit.training import bf16_is_fast, fast_arithmetic, fast_attention

WIDTHS, LAYERS, KEPT, ROWS, LENGTH, REDUCTION = (512, 1024), 4, 2, 8, 128, 8


def make_model(width: int) -> Any:
    """A Llama in the proportions of that with 7 billion parameters, but narrow, of few layers and with few tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=width,
        num_hidden_layers=LAYERS,
        num_attention_heads=width // 64,
        intermediate_size=width * 11008 // 4096,
        num_labels=2,
        pad_token_id=0,
    )
    return LlamaForSequenceClassification(config).to(torch.bfloat16 if bf16_is_fast() else torch.float32)


def block_parameters(model: Any) -> int:
    """Of the layers alone, by which a token is multiplied."""
    return sum(parameter.numel() for parameter in model.model.layers.parameters())


def make_rows() -> list[dict[str, Any]]:
    """Random texts of the full length."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(5, 1000, (ROWS, LENGTH), generator=generator)
    return [{"input_ids": row, "labels": number % 2} for number, row in enumerate(drawn)]


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of one length need no padding."""
    drawn = torch.stack([row["input_ids"] for row in rows])
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": drawn, "attention_mask": torch.ones_like(drawn), "labels": labels}


def stepping(model: Any, batch: dict[str, Any]) -> Callable[[], None]:
    """Forward, backward and an update, each time it is called."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)

    def step() -> None:
        with fast_arithmetic(), fast_attention(model):
            loss = model(**batch).loss
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


@torch.no_grad()
def run(model: Any, batch: dict[str, Any]) -> None:
    """A pass without gradients."""
    with fast_arithmetic():
        model(**batch)


def fill(ladder: LadderModel, rows: list[dict[str, Any]], folder: Path, dtype: str) -> int:
    """A pass that keeps the taps, in a folder of its own; what they take there."""
    with fast_arithmetic(), tempfile.TemporaryDirectory(dir=folder) as own:
        ladder.cache_taps(rows, own, collate, dtype=dtype, batch_size=ROWS, show_progress=False)
        return sum(path.stat().st_size for path in Path(own).glob("*.safetensors"))


def training_at(width: int, rounds: int, budget: Budget, folder: Path) -> dict[str, float]:
    """Seconds and bytes of a batch of one width, through the model, beside it, and from kept taps."""
    rows = make_rows()
    batch = collate(rows)
    model = make_model(width).eval()
    live, kept = (
        get_ladder_model(make_model(width), LadderConfig(reduction=REDUCTION, layers=KEPT)).train() for _ in range(2)
    )
    through = lora(make_model(width), {})[0].train()
    found: dict[str, float] = {
        "tokens": ROWS * LENGTH,
        "block_parameters": block_parameters(model),
        "attention_operations": 4 * LAYERS * LENGTH * width,
        "width": width,
        "side_parameters": sum(p.numel() for module in live.side_modules() for p in module.parameters()),
        "lora_parameters": sum(p.numel() for p in through.parameters() if p.requires_grad),
    }
    with fast_arithmetic():
        found["ladder_activation_bytes"] = saved_activation_bytes(live, lambda: live(**batch))
        found["lora_activation_bytes"] = saved_activation_bytes(through, lambda: through(**batch))
        cache = kept.cache_taps(rows, folder / f"{width}", collate, batch_size=ROWS, show_progress=False)
    for dtype in ("float32", "bfloat16", "int8"):
        found[f"tap_bytes_{dtype}"] = fill(live, rows, folder, dtype)
        found[f"estimated_tap_bytes_{dtype}"] = estimate_tap_bytes(live, [ROWS * LENGTH], dtype)
    kept.use_tap_cache(cache)
    calls = {
        "pass": partial(run, model, batch),
        "keeping": partial(fill, live, rows, folder, "bfloat16"),
        "reading": lambda: cache.look_up(kept, batch),
        "ladder": stepping(kept, batch),
        "live_ladder": stepping(live, batch),
        "lora": stepping(through, batch),
    }
    turns = take_turns(calls, rounds, budget, f"training, {width} wide")
    return found | {f"{name}_seconds": turns.fastest(name).processor for name in calls} | turns.facts()


def weights_at(width: int, folder: Path) -> dict[str, float]:
    """Bytes of a model's weights in bf16, and in four bits of bitsandbytes."""
    path = folder / f"model-{width}"
    make_model(width).save_pretrained(path)
    four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    loaded = {
        "bf16_bytes": LlamaForSequenceClassification.from_pretrained(path, dtype=torch.bfloat16),
        "nf4_bytes": LlamaForSequenceClassification.from_pretrained(
            path, dtype=torch.bfloat16, quantization_config=four
        ),
    }
    found: dict[str, float] = {"block_parameters": block_parameters(loaded["bf16_bytes"])}
    for name, model in loaded.items():
        scales = [vars(p).get("quant_state") for p in model.model.layers.parameters()]
        own = sum(p.numel() * p.element_size() for p in model.model.layers.parameters())
        found[name] = own + sum(state.absmax.numel() * state.absmax.element_size() for state in scales if state)
    return found


def headlines(results: dict[str, Any]) -> list[Headline]:
    texts = results["figures"]["1 TB of text"]
    return [
        Headline(name, "", f"{texts[task]['MB per second and core']:.3g} MB per second and core")
        for task, name in TASKS.items()
    ]


def main() -> None:
    """Measure everything, and write the JSON."""
    parser = options_of(__doc__, "scale_arithmetic.json", rounds=3, bf16=False)
    parser.add_argument("--small", action="store_true", help="tiny sizes, whose figures mean nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    share, widths = (0.02, (128, 256)) if options.small else (1, WIDTHS)
    texts = {
        name: [in_a_process(name, size * share) for size in SIZES[name]]
        for name in tqdm(SIZES, desc="working on texts", unit="task")
    }
    with tempfile.TemporaryDirectory() as folder:
        weights = [weights_at(width, Path(folder)) for width in tqdm(widths, desc="loading")]
        training = [
            training_at(width, options.rounds, budget, Path(folder))
            for width, budget in Budget(options.budget).shared(widths)
        ]
    shape = {"layers": LAYERS, "kept": KEPT, "rows": ROWS, "length": LENGTH, "reduction": REDUCTION}
    found = figures(texts, training, weights, shape)
    precision = "bf16" if bf16_is_fast() else "fp32"
    measured = {"figures": found, "texts": texts, "training": training, "weights": weights, "shape": shape}
    write_report(options, {**measured, "load_average": os.getloadavg()}, precision, "peft", "bitsandbytes")
    print(*("\n".join(lines) for lines in tables(found)), sep="\n\n")


if __name__ == "__main__":
    main()
