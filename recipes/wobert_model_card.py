"""The model card of a masked language model, from what is known at the end of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import yaml

_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy")


@dataclass(frozen=True)
class MaskedLMCard:
    """What a model card of a masked language model tells.

    Args:
        name: the model's name.
        license: an identifier such as ``"mit"``, or ``None``.
        notice: where weights and texts come from and under what terms, Markdown.
        facts: the model's and the training's facts, in the order to be shown.
        domains: a domain's share of its text in each pass over the data.
        metrics: as ``metrics_by_domain`` returns them.
        nlpkit_version: the version of this library.
    """

    name: str
    license: str | None
    notice: str | None
    facts: Mapping[str, str | int | float]
    domains: Mapping[str, float]
    metrics: Mapping[str, float]
    nlpkit_version: str

    def render(self) -> str:
        """The card as Markdown with a YAML header, as the Hugging Face hub reads it.

        Example:
            >>> card = MaskedLMCard("tiny", "mit", None, {"steps": 10}, {"news": 1.0},
            ...                     {"loss": 2.0, "accuracy": 0.5, "targets": 8,
            ...                      "loss_news": 2.0, "accuracy_news": 0.5, "targets_news": 8}, "0.1.0")
            >>> print(card.render().split("## Held-out results")[1].split("Made with")[0].strip())
            Masked tokens of text that was held out; with the same data, vocabulary and seed, the same tokens.
            <BLANKLINE>
            | domain | share in training | masked tokens | loss (nats) | accuracy |
            | --- | ---: | ---: | ---: | ---: |
            | news | 1 | 8 | 2.000 | 0.500 |
            | **all** | | 8 | 2.000 | 0.500 |
        """
        header = {
            "language": "zh",
            "library_name": "nlpkit",
            "pipeline_tag": "fill-mask",
            "tags": ["wobert", "fill-mask"],
        }
        if self.license:
            header["license"] = self.license
        parts = [
            "---\n" + yaml.safe_dump(header, allow_unicode=True, sort_keys=True) + "---",
            f"# {self.name}",
            "A masked language model whose tokens are Chinese words, made by nlpkit's `recipes/wobert_pretrain.py`.",
            "## Use\n\n```python\nimport nlpkit\nfrom transformers import pipeline\n\n"
            f'fill = pipeline("fill-mask", model="path/to/{self.name}")\n'
            'print(fill("酒店的服务态度很[MASK]。"))\n```\n\n'
            "`import nlpkit` comes first: it registers the word tokenizer and the model with transformers.",
            "## Training\n\n" + _table(["fact", "value"], [[name, _plain(fact)] for name, fact in self.facts.items()]),
            "## Held-out results\n\n"
            "Masked tokens of text that was held out; with the same data, vocabulary and seed, the same tokens.\n\n"
            + self._results(),
        ]
        if self.notice:
            parts.append(f"## Sources and notices\n\n{self.notice.strip()}")
        made_with = ", ".join([f"nlpkit {self.nlpkit_version}", *(f"{name} {version(name)}" for name in _PACKAGES)])
        parts.append(f"Made with {made_with}.")
        return "\n\n".join(parts) + "\n"

    def _results(self) -> str:
        rows = []
        for domain, share in [*self.domains.items(), ("", 0.0)]:
            suffix = f"_{domain}" if domain else ""
            targets, loss, accuracy = (self.metrics[f"{name}{suffix}"] for name in ("targets", "loss", "accuracy"))
            label = [domain, _plain(share)] if domain else ["**all**", ""]
            rows.append([*label, f"{targets:,.0f}", f"{loss:.3f}", f"{accuracy:.3f}"])
        return _table(
            ["domain", "share in training", "masked tokens", "loss (nats)", "accuracy"], rows, text_columns=1
        )


def _plain(value: str | int | float) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value


def _table(head: list[str], rows: list[list[str]], text_columns: int = 2) -> str:
    rule = ["---" if column < text_columns else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row).replace("|  |", "| |") + " |" for row in [head, rule, *rows])
