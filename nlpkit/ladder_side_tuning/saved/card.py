"""The model card of a saved ladder."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCardData

from nlpkit.ladder_side_tuning.blocks.dense_weights import count_parameters
from nlpkit.ladder_side_tuning.ladder import Ladder


def model_card(ladder: Ladder) -> str:
    """What a ladder is, what it stands beside, and how it is loaded, as Markdown for its ``README.md``.

    Args:
        ladder: a model with a ladder.

    Returns:
        The card, with the header by which the Hub finds the backbone.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> print(model_card(get_ladder_model(model, LadderConfig(reduction=2))))
        ---
        library_name: nlpkit
        tags:
        - ladder-side-tuning
        ---
        <BLANKLINE>
        # BertModel with a ladder
        <BLANKLINE>
        ...
    """
    config, name = ladder.ladder_config, str(ladder.config.name_or_path)
    is_repository = bool(name) and not Path(name).exists() and not Path(name).is_absolute()
    data = ModelCardData(
        library_name="nlpkit", tags=["ladder-side-tuning"], base_model=name if is_repository else None
    )
    kind, trained, total = (
        type(ladder).__name__.removeprefix("FSDP"),
        ladder.num_ladder_parameters(),
        count_parameters(ladder),
    )
    layers = "; ".join(f"{stack or 'the model'}: {found}" for stack, found in ladder.tapped_layers().items())
    parts = [f"{trained:,} of {total:,} parameters are here; the frozen ones are those of {name or 'the backbone'}."]
    if ladder.has_side_network():
        parts.append(
            f"Narrow blocks, 1/{config.reduction} of the width, stand beside the frozen model (merge: {config.merge})."
        )
    if config.whole_from is not None:
        parts.append(f"Layers from {config.whole_from} on were trained whole.")
    title = f"{kind} with a ladder" if ladder.has_side_network() else f"{kind} tuned from layer {config.whole_from}"
    text = "\n".join(parts)
    return f"""---
{data.to_yaml()}
---

# {title}

{text}
States are read at these layers: {layers}.

```python
import nlpkit
from nlpkit.ladder_side_tuning import LadderModel

model = LadderModel.from_pretrained("THIS FOLDER")  # beside the backbone from where it was loaded then
model = LadderModel.from_pretrained(backbone, "THIS FOLDER")  # or beside one that is loaded already
```

transformers' Auto classes and `pipeline` open the folder, too, once `nlpkit` is imported.
"""
