"""What a pre-training leaves: the model in one folder, with figures and a card that says what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from huggingface_hub import ModelCardData

from nlpkit.files import SAVED_MODEL, read_json, whole_folder, write_json, write_text
from nlpkit.version import __version__

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy")


def model_card(
    name: str,
    header: ModelCardData,
    *,
    about: str,
    facts: Mapping[str, str | int | float],
    results: str,
    notice: str | None = None,
) -> str:
    """A model's card as Markdown with a header, as the Hub reads it.

    Args:
        name: of the model, its title.
        header: what the Hub is to know of it.
        about: what it is, and under ``## Use`` how to use it.
        facts: of the training, by what they are of.
        results: the held-out figures, and what they were measured on.
        notice: where weights and texts come from, and their licences.

    Example:
        >>> header = ModelCardData(language="zh")
        >>> card = model_card("mini", header, about="A model.", facts={"steps": 1200}, results="")
        >>> print(*card.splitlines()[:11], sep=chr(10))
        ---
        language: zh
        ---
        <BLANKLINE>
        # mini
        <BLANKLINE>
        A model.
        <BLANKLINE>
        ## Training
        <BLANKLINE>
        | fact | value |
    """
    told = [[fact, f"{value:,}" if isinstance(value, int) else f"{value}"] for fact, value in facts.items()]
    return f"""---
{header.to_yaml()}
---

# {name}

{about.strip()}

## Training

{markdown_table(["fact", "value"], told)}

## Held-out results

{results.strip()}

{f"## Sources and notices{chr(10) * 2}{notice.strip()}{chr(10) * 2}" if notice else ""}\
Made with nlpkit {__version__}, {", ".join(f"{package} {version(package)}" for package in _PACKAGES)}.
"""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 2) -> str:
    """A Markdown table, whose columns from a given one on hold numbers.

    Example:
        >>> print(markdown_table(["domain", "loss"], [["law", "2.5"]], numbers_from=1))
        | domain | loss |
        | --- | ---: |
        | law | 2.5 |
    """
    rule = ["---" if column < numbers_from else "---:" for column in range(len(head))]
    return "\n".join("".join(f"| {cell} " if cell else "| " for cell in row) + "|" for row in [head, rule, *rows])


def save_finished_model(
    folder: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    dtype: str,
    metrics: Mapping[str, float],
    card: str,
    beside: Sequence[str | Path] = (),
    state_dict: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a trained model with all that belongs to it, whole or not at all.

    Args:
        folder: gets weights, settings, tokenizer, ``results.json`` and ``README.md``.
        model: is converted to ``dtype``.
        tokenizer: the model's own.
        dtype: of the tensors in the file: ``"float16"`` or ``"float32"``. The settings say ``float32`` in either case,
            since transformers loads what they declare, and fp16 cannot be trained.
        metrics: for ``results.json``.
        card: for ``README.md``.
        beside: further files to copy there, under their names.
        state_dict: the weights, where they are gathered from several processes; by default the model's own.
    """
    import torch

    kind = getattr(torch, dtype)
    gathered = None if state_dict is None else {name: tensor.to(kind) for name, tensor in state_dict.items()}
    with whole_folder(folder, replacing=SAVED_MODEL) as draft:
        model.to(kind).save_pretrained(draft, state_dict=gathered)
        write_json(draft / "config.json", read_json(draft / "config.json") | {"dtype": "float32"})
        tokenizer.save_pretrained(draft)
        write_json(draft / "results.json", metrics)
        write_text(draft / "README.md", card)
        for path in beside:
            copyfile(path, draft / Path(path).name)
