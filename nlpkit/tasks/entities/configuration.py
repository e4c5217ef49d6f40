"""Settings of a model that finds entities: an encoder's, a head's, and the types."""

from __future__ import annotations

from typing import Any, Literal

from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.configuration_utils import SubConfigSpec

from nlpkit.checked_number import checked_number
from nlpkit.tasks.entities.heads.bio_heads import bio_names

Head = Literal["global_pointer", "efficient_global_pointer", "crf", "softmax"]
Units = Literal["tokens", "characters"]

HEADS: tuple[Head, ...] = ("global_pointer", "efficient_global_pointer", "crf", "softmax")
#: Those that score spans, which may lie within one another.
SPAN_HEADS: tuple[Head, ...] = ("global_pointer", "efficient_global_pointer")


class EntityConfig(PreTrainedConfig):
    """Configuration of ``EntityModel``.

    Args:
        encoder: the configuration of any encoder of transformers; a BERT's by default.
        head: ``"global_pointer"``, ``"efficient_global_pointer"``, ``"crf"`` or ``"softmax"``.
        units: what entities are made of: the ``"tokens"`` of the encoder, or ``"characters"``, each of which knows the
            token it stands in.
        types: of entities, in their order; in place of ``id2label``, which holds their BIO labels.
        head_size: numbers per query and key of a head that scores spans, even.
        place_reach: as of ``WoBertCharacterConfig``, for characters.
        use_characters: likewise.
        head_dropout: share of states that is dropped before the head.
        special_ids: of tokens that are no part of a text; no unit.

    Raises:
        TypeError: a number is none.
        ValueError: a number is out of its range, a head or a kind of unit is unknown, types come twice, or
            ``id2label`` holds no BIO labels.

    Example:
        >>> config = EntityConfig(types=["LOC", "PER"], head="crf")
        >>> config.id2label[3], config.entity_types, config.encoder.model_type
        ('B-PER', ['LOC', 'PER'], 'bert')
    """

    model_type = "entities"
    sub_configs_defaults = {"encoder": SubConfigSpec(config_class=AutoConfig, model_type="bert")}  # noqa: RUF012

    #: What the Trainer does not gather in evaluation: of all spans and all texts it would not fit.
    keys_to_ignore_at_inference = ["scores", "chain", "hidden_states", "attentions"]  # noqa: RUF012

    encoder: PreTrainedConfig | dict[str, Any] | None = None
    head: str = "global_pointer"
    units: str = "tokens"
    head_size: int = 64
    place_reach: int = 4
    use_characters: bool = True
    head_dropout: float = 0.1
    special_ids: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        types = kwargs.pop("types", None)
        if types is not None:
            self.id2label = dict(enumerate(bio_names(checked_types(types))))
            self.label2id = {name: number for number, name in self.id2label.items()}
        elif self.id2label is None:
            self.id2label, self.label2id = {0: "O"}, {"O": 0}
        super().__post_init__(**kwargs)
        if self.head not in HEADS:
            raise ValueError(f"head={self.head!r} is unknown; use {', '.join(HEADS)}")
        checked_number("head_size", self.head_size, least=1, whole=True)
        checked_number("place_reach", self.place_reach, least=1, whole=True)
        checked_number("head_dropout", self.head_dropout, least=0, below=1)
        if self.units not in ("tokens", "characters"):
            raise ValueError(f"units={self.units!r} is unknown; use tokens or characters")
        names = [name for _, name in sorted(self._names().items())]
        if names != bio_names(self.entity_types):
            raise ValueError(
                f"id2label is {self.id2label}; it must hold O, and B- and I- of each type in turn: give types=[...]"
            )

    @property
    def entity_types(self) -> list[str]:
        """The types, in their order."""
        return [name[2:] for number, name in sorted(self._names().items()) if number % 2 == 1]

    def _names(self) -> dict[int, str]:
        return {int(number): name for number, name in (self.id2label or {}).items()}

    @property
    def scores_spans(self) -> bool:
        """Whether the head scores spans, so that entities may lie within one another."""
        return self.head in SPAN_HEADS


def checked_types(types: Any) -> list[str]:
    """Types of entities as a list.

    Raises:
        TypeError: they are one text, or not all texts.
        ValueError: there are none, or one comes twice or is empty, or is a BIO label.

    Example:
        >>> checked_types(("PER", "LOC"))
        ['PER', 'LOC']
    """
    if isinstance(types, str):
        raise TypeError(f"types={types!r} is one text; give a list, types=[{types!r}]")
    found = list(types)
    wrong = [name for name in found if not isinstance(name, str)]
    if wrong:
        raise TypeError(f"types hold {wrong[0]!r}, a {type(wrong[0]).__name__}; give names")
    if labels := [name for name in found if name == "O" or name.startswith(("B-", "I-"))]:
        raise ValueError(f"types hold {labels[0]!r}, a BIO label; give the types alone, such as LOC")
    if not found or len(set(found)) < len(found) or "" in found:
        raise ValueError(f"types={found} must be names, at least one, each once and none empty")
    return found


def special_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of tokens that are no part of a text: of its beginning, its end, and padding.

    Args:
        tokenizer: any.

    Returns:
        In order; the unknown token and the mask stand for a part of a text.
    """
    names = ("pad_token_id", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id")
    ids = {getattr(tokenizer, name, None) for name in names} - {tokenizer.unk_token_id}
    return sorted(number for number in ids if number is not None)
