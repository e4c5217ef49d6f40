"""The formulas of docs/scale.md: slopes of `scale_arithmetic.py`, their checks, and what follows at full size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Measured = Mapping[str, float]

CORPUS = 1e12  # bytes
#: Llama 2 of 7 billion parameters.
WIDTH, LAYERS, FEED_FORWARD, VOCABULARY = 4096, 32, 11008, 32_000
KEPT, LENGTH, TOKENS = 8, 512, 1e7
#: Bytes of a state's element, and of the scale that each state has beside.
TAPS = {"float32": (4, 0), "bfloat16": (2, 0), "int8": (1, 4)}


def block_of(width: int, feed_forward: int) -> float:
    """Parameters of a layer: four projections of attention, three of the network behind, two norms."""
    return 4 * width**2 + 3 * width * feed_forward + 2 * width


def side_of(width: int, feed_forward: int, kept: int, reduction: int) -> float:
    """Parameters of a side network: narrow blocks, a projection down for each and one for the embeddings, one up."""
    narrow = kept * block_of(width // reduction, feed_forward // reduction)
    return narrow + (kept + 2) * width**2 / reduction


def on_texts(first: Measured, second: Measured) -> dict[str, float]:
    """Of a task, from its slope at the first size."""
    rate = first["bytes"] / first["seconds"]
    return {
        "MB per second and core": rate / 1e6,
        "measured / predicted": second["seconds"] / (second["bytes"] / rate),
        "core hours for 1 TB": CORPUS / rate / 3600,
        "bytes written per byte": second["written_bytes"] / second["bytes"],
        "GB of memory": second["peak_bytes"] / 1e9,
        "GB of memory, first size": first["peak_bytes"] / 1e9,
    }


def check(slope: float, second: float) -> dict[str, float]:
    """A slope of the first size, and how far the second one is from it."""
    return {"slope": slope, "measured / predicted": second / slope}


def in_training(one: Measured, shape: Mapping[str, int]) -> dict[str, float]:
    """Slopes at one width: rates in operations per second, times in passes, bytes per token, layer and width."""
    tokens, width = one["tokens"], one["width"]
    operations = tokens * (2 * one["block_parameters"] + one["attention_operations"])
    feed_forward = int(width) * FEED_FORWARD // WIDTH
    side = side_of(int(width), feed_forward, shape["kept"], shape["reduction"])
    return {
        "operations per second of a pass": operations / one["pass_seconds"],
        "keeping taps / pass": one["keeping_seconds"] / one["pass_seconds"],
        "LoRA step / pass": one["lora_seconds"] / one["pass_seconds"],
        "live ladder step / pass": one["live_ladder_seconds"] / one["pass_seconds"],
        "bytes of taps read per second": one["tap_bytes_bfloat16"] / one["reading_seconds"],
        "operations per second of a ladder step": 6 * side * tokens / (one["ladder_seconds"] - one["reading_seconds"]),
        "side parameters / formula": one["side_parameters"] / side,
        "activations of LoRA": one["lora_activation_bytes"] / (tokens * shape["layers"] * width),
        "activations of a ladder": one["ladder_activation_bytes"] / (tokens * shape["kept"] * width),
        **{
            f"file of taps / estimate, {name}": one[f"tap_bytes_{name}"] / one[f"estimated_tap_bytes_{name}"]
            for name in TAPS
        },
    }


def seven_billion(slopes: Mapping[str, float], nf4: float) -> dict[str, float]:
    """What follows for the large backbone, from slopes at the larger width, in GB, MB and core hours."""
    blocks, tables = LAYERS * block_of(WIDTH, FEED_FORWARD), 2 * VOCABULARY * WIDTH
    side = side_of(WIDTH, FEED_FORWARD, KEPT, 8)
    one_pass = (2 * blocks + 4 * LAYERS * LENGTH * WIDTH) / slopes["operations per second of a pass"]
    taps = {name: KEPT * (WIDTH * size + scale) for name, (size, scale) in TAPS.items()}
    from_taps = taps["bfloat16"] / slopes["bytes of taps read per second"]
    from_taps += 6 * side / slopes["operations per second of a ladder step"]
    hours = TOKENS / 3600
    return {
        "block parameters": blocks,
        "side parameters": side,
        "GB of weights, bf16": 2 * (blocks + tables) / 1e9,
        "GB of weights, nf4": (nf4 * blocks + 2 * tables) / 1e9,
        "GB of a ladder's weights, gradients and moments": 16 * side / 1e9,
        **{f"GB of taps, {name}": TOKENS * size / 1e9 for name, size in taps.items()},
        "MB of activations per token, LoRA": slopes["activations of LoRA"] * LAYERS * WIDTH / 1e6,
        "MB of activations per token, ladder": slopes["activations of a ladder"] * KEPT * WIDTH / 1e6,
        "core hours of a pass": hours * one_pass,
        "core hours of the pass that keeps the taps": hours * one_pass * slopes["keeping taps / pass"],
        "core hours of an epoch of LoRA": hours * one_pass * slopes["LoRA step / pass"],
        "core hours of an epoch from kept taps": hours * from_taps,
    }


def figures(
    texts: Mapping[str, Sequence[Measured]],
    training: Sequence[Measured],
    weights: Sequence[Measured],
    shape: Mapping[str, int],
) -> dict[str, Any]:
    """All of the page's figures, by their names."""
    first, second = (in_training(one, shape) for one in training)
    nf4, bf16 = ([one[f"{name}_bytes"] / one["block_parameters"] for one in weights] for name in ("nf4", "bf16"))
    per_token = texts["ids"][1]["bytes"] / (texts["ids"][1]["written_bytes"] / 4)
    return {
        "1 TB of text": {name: on_texts(*sizes) for name, sizes in texts.items()},
        "tokens of 1 TB": CORPUS / per_token,
        "slopes": {name: check(slope, second[name]) for name, slope in first.items()},
        "bytes per parameter, nf4": check(*nf4),
        "bytes per parameter, bf16": check(*bf16),
        "7 billion parameters": seven_billion(second, nf4[1]),
    }


#: How the page calls what was measured, and in which unit it shows it.
TASKS = {
    "read": "read a file of lines",
    "ids": "tokenise to ids, for pre-training",
    "tokenise": "`nlpkit tokenize`: ids, pieces, offsets",
    "segment": "`nlpkit segment`, counted links",
    "classify": "`nlpkit classify`, the shipped model",
    "count": "count one to three characters",
}
SLOPES = {
    "operations per second of a pass": ("a pass: operations per second, in billions", 1e9),
    "keeping taps / pass": ("the pass that keeps taps / a pass", 1),
    "LoRA step / pass": ("a step of LoRA / a pass", 1),
    "live ladder step / pass": ("a step of a live ladder / a pass", 1),
    "operations per second of a ladder step": ("a step from kept taps: operations per second, in billions", 1e9),
    "bytes of taps read per second": ("kept taps read, in memory, MB per second", 1e6),
    "activations of LoRA": ("activations of LoRA, bytes per token, layer and width", 1),
    "activations of a ladder": ("activations of a ladder, bytes per token, kept layer and width", 1),
    "side parameters / formula": ("parameters of the side network / formula", 1),
    "file of taps / estimate, bfloat16": ("files of taps / `estimate_tap_bytes`, bf16", 1),
    "file of taps / estimate, int8": ("files of taps / `estimate_tap_bytes`, int8", 1),
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of Markdown, numbers to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def tables(found: Mapping[str, Any]) -> list[list[str]]:
    """The tables of docs/scale.md: work on texts, slopes, and the large backbone."""
    texts, slopes, large = found["1 TB of text"], found["slopes"], found["7 billion parameters"]
    first = [
        [
            name,
            f"{texts[task]['MB per second and core']:.3g}",
            f"{texts[task]['measured / predicted']:.2f}",
            f"{texts[task]['core hours for 1 TB']:,.0f}",
            f"{texts[task]['core hours for 1 TB'] / 64:,.1f}",
            f"{texts[task]['bytes written per byte']:.2f}",
            f"{texts[task]['GB of memory']:.1f}",
        ]
        for task, name in TASKS.items()
    ]
    second = [
        [name, f"{slopes[key]['slope'] / unit:.3g}", f"{slopes[key]['measured / predicted']:.3f}"]
        for key, (name, unit) in SLOPES.items()
    ]
    nf4 = found["bytes per parameter, nf4"]
    second.append(
        ["weights in four bits, bytes per parameter", f"{nf4['slope']:.4f}", f"{nf4['measured / predicted']:.3f}"]
    )
    third = [[name, f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"] for name, value in large.items()]
    return [
        table(
            [
                "1 TB of text",
                "MB/s, core",
                "4x / predicted",
                "core hours",
                "hours, 64 cores",
                "written / read",
                "GB, worker",
            ],
            first,
        ),
        table(["slope", "measured", "twice as wide / predicted"], second),
        table(["7 billion parameters, 8 taps, 10 million tokens", ""], third),
    ]
