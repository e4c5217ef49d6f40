"""Hidden states and predictions of any masked language model at chosen rows, and no more work than they need."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from nlpkit.compat import attention_of_positionwise_layer, quiet_loading
from nlpkit.losses.normalised import at_least_fp32
from nlpkit.perturbed_masking.impact.fitness import refuse_unfit
from nlpkit.pretrained import open_masked_lm
from nlpkit.probes.room import room_for_tokens

Rows = tuple[Tensor, Tensor]
#: Settings that say where a model comes from, how it is stored, and what its labels are called.
_WITHOUT_EFFECT = {
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "problem_type",
    "torch_dtype",
    "transformers_version",
}


class _EnoughSeenError(Exception):
    """Ends a forward pass at the deepest layer asked for."""


class _NoMore(BaseModelOutput):
    """An encoder's output of which a head is given the states, and ``None`` for whatever else it asks."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _GivenStates(nn.Module):
    """Stands in for an encoder: returns the states that it is given as embeddings."""

    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> BaseModelOutput:
        return _NoMore(last_hidden_state=inputs_embeds)


class MaskedEncoder:
    """An encoder, read at chosen layers and rows, and the vocabulary head of its masked LM where it has one.

    Args:
        model: an encoder or a masked language model of transformers; put into evaluation mode.
        has_head: whether the vocabulary head has trained weights; by default, whether there is one.
        bf16: multiply in bf16 (autocast); states come out in fp32 all the same.

    Raises:
        TypeError: ``model`` is none of transformers.
        ValueError: it is a decoder or has one, which does not see both sides of a mask; it has no weights; or its
            input is no table of token embeddings (CANINE, Perceiver).

    Note:
        Layers above the deepest one asked for are not run. In layers whose second half works on each row by itself
        (BERT, RoBERTa, XLM-R, ELECTRA) the deepest one runs that half on the chosen rows alone.

    Example:
        >>> from nlpkit import WoBertConfig, WoBertModel
        >>> config = WoBertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=3, num_attention_heads=2,
        ...                       intermediate_size=8)
        >>> encoder = MaskedEncoder(WoBertModel(config))
        >>> rows = (torch.tensor([0, 0, 1]), torch.tensor([1, 2, 0]))
        >>> states = encoder.states(torch.tensor([[2, 5, 3], [2, 6, 3]]), rows, layers=[1, 2])
        >>> {layer: tuple(found.shape) for layer, found in states.items()}
        {1: (3, 8), 2: (3, 8)}
    """

    def __init__(self, model: PreTrainedModel, has_head: bool | None = None, bf16: bool = False) -> None:
        refuse_unfit(model)
        self.layers: int = model.config.num_hidden_layers
        self.model, self.bf16 = model.eval(), bf16
        self.encoder: nn.Module = model.base_model
        self._stack = _find_stack(self.encoder, self.layers)
        is_masked_lm = self.encoder is not model and model.get_output_embeddings() is not None
        self._head = _detach_head(model) if (is_masked_lm if has_head is None else has_head) else None

    @classmethod
    def from_pretrained(cls, name: str, bf16: bool = False, **settings: object) -> MaskedEncoder:
        """Load an encoder, with or without the head of its masked LM.

        Args:
            name: folder or name on the Hub.
            bf16: as for the class.
            **settings: passed to ``AutoModelForMaskedLM.from_pretrained``.

        Raises:
            ValueError: this architecture has no masked LM in transformers, or weights of the encoder are missing.
        """
        with quiet_loading():
            model, report = open_masked_lm(name, output_loading_info=True, **settings)
        prefix = model.base_model_prefix + "."
        missing = sorted(report["missing_keys"])
        absent = [key for key in missing if key.startswith(prefix)]
        if absent:
            raise ValueError(f"{name} lacks weights of the encoder: {', '.join(absent[:5])}; is the folder complete?")
        return cls(model, has_head=not missing, bf16=bf16)

    def to(self, device: str | torch.device) -> MaskedEncoder:
        """Move the model.

        Args:
            device: where to.
        """
        for model in (self.model, self._head):
            if model is not None:
                model.to(device)  # type: ignore[arg-type]
        return self

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def has_head(self) -> bool:
        """Whether the model predicts tokens."""
        return self._head is not None

    @property
    def max_positions(self) -> int | None:
        """Tokens that fit, as far as the model tells; ``None`` where it does not."""
        return room_for_tokens(self.model)

    def fingerprint(self) -> str:
        """A hash of weights and settings, hexadecimal; the same wherever they lie and whatever the folder's name."""
        config = self.model.config.to_dict()
        settings = {name: value for name, value in config.items() if name not in _WITHOUT_EFFECT}
        digest = hashlib.blake2b(json.dumps(settings, sort_keys=True, default=str).encode(), digest_size=16)
        for name, tensor in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy())
        return digest.hexdigest()

    @torch.no_grad()
    def states(self, input_ids: Tensor, rows: Rows, layers: Sequence[int]) -> dict[int, Tensor]:
        """Hidden states of some layers at some positions.

        Args:
            input_ids: sequences of one length, so nothing is padding, shape ``(batch, length)``.
            rows: sequence and position of each row wanted, both ``(rows,)``.
            layers: from 1, the first, to the number of layers, the last (after its final norm, if the model has one).

        Returns:
            For each layer the states, fp32 (fp64 from a model in fp64), shape ``(rows, hidden)``.

        Raises:
            ValueError: states that are no numbers; or ids that the model has no embedding for.
        """
        if input_ids.max() >= (rows_of := self.model.get_input_embeddings().weight.shape[0]):
            raise ValueError(
                f"the tokenizer gives the id {int(input_ids.max())}, and {type(self.model).__name__} has {rows_of} "
                "embeddings; use the model's own tokenizer"
            )
        with self.autocast():
            found = self._states_by_hooks(input_ids, rows, layers)
            if found is None:
                found = self._states_as_listed(input_ids, rows, layers)
                self._stack = None  # which are not what they seemed
        for layer, states in found.items():
            if not states.isfinite().all():
                raise ValueError(
                    f"states of layer {layer} of {type(self.model).__name__} are not finite: its weights hold NaN or "
                    "infinity, or are too large for the precision; load them again, or in fp32"
                )
        return {layer: at_least_fp32(states) for layer, states in found.items()}

    def _states_by_hooks(self, input_ids: Tensor, rows: Rows, layers: Sequence[int]) -> dict[int, Tensor] | None:
        """The states as the layers give them; ``None`` where the layers are unknown, or other than they seemed."""
        if self._stack is None:
            return None
        deepest, narrowed = max(layers), self._attention_of(max(layers)) is not None
        found: dict[int, Tensor] = {}
        with self._hooks(rows, layers, deepest, found), suppress(_EnoughSeenError):
            last = self.encoder(input_ids=input_ids).last_hidden_state
            if deepest == self.layers:  # below it, a pass that comes to its end never met the layer
                found[deepest] = last
        if set(found) != set(layers):
            return None
        found[deepest] = found[deepest][0] if narrowed else found[deepest][rows]
        return found

    def _states_as_listed(self, input_ids: Tensor, rows: Rows, layers: Sequence[int]) -> dict[int, Tensor]:
        """The states as the model lists them, once all of its layers have run.

        Raises:
            ValueError: it lists other states than one per layer and token.
        """
        if set(layers) == {self.layers}:  # which a model whose blocks shorten the sentence has, too
            last = self.encoder(input_ids=input_ids).last_hidden_state
            if last.shape[:2] == input_ids.shape:
                return {self.layers: last[rows]}
        every = self.encoder(input_ids=input_ids, output_hidden_states=True).hidden_states
        shapes = {tuple(states.shape[:2]) for states in every}
        if len(every) != self.layers + 1 or shapes != {tuple(input_ids.shape)}:
            raise ValueError(
                f"{type(self.model).__name__} gives {len(every)} hidden states of shapes {sorted(shapes)} for "
                f"{self.layers} layers and {input_ids.shape[1]} tokens, not one state per layer and token; use its "
                "last layer alone (layer=-1), or another model"
            )
        return {layer: every[layer][rows] for layer in layers}

    def log_probabilities(self, states: Tensor) -> Tensor:
        """What the vocabulary head predicts from states of the last layer.

        Args:
            states: shape ``(rows, hidden)``.

        Returns:
            Natural logarithms, fp32 (fp64 from a model in fp64), shape ``(rows, vocabulary)``.
        """
        assert self._head is not None
        with torch.no_grad(), self.autocast():
            logits = self._head(inputs_embeds=states.to(self.model.dtype)[None]).logits[0]
        return at_least_fp32(logits).log_softmax(dim=-1)

    def autocast(self) -> torch.autocast:
        """The precision that the model runs in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _attention_of(self, layer: int) -> nn.Module | None:
        return None if self._stack is None else attention_of_positionwise_layer(self._stack[layer - 1])

    @contextmanager
    def _hooks(self, rows: Rows, layers: Sequence[int], deepest: int, found: dict[int, Tensor]) -> Iterator[None]:
        """Hooks that keep the rows of each layer, and end the pass after the deepest unless that is the last."""
        assert self._stack is not None

        def keep(layer: int) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                states = output[0] if isinstance(output, tuple) else output  # (batch, length, hidden)
                if layer == deepest:
                    found[layer] = states
                    raise _EnoughSeenError
                found[layer] = states[rows]

            return hook

        def narrow(module: nn.Module, inputs: Any, output: tuple[Any, ...]) -> tuple[Any, ...]:
            return (output[0][rows][None], *output[1:])  # (1, rows, hidden)

        handles = [
            self._stack[layer - 1].register_forward_hook(keep(layer)) for layer in layers if layer < self.layers
        ]
        attention = self._attention_of(deepest)
        if attention is not None:
            handles.append(attention.register_forward_hook(narrow))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _find_stack(encoder: nn.Module, layers: int) -> nn.ModuleList | None:
    """The list of an encoder's layers, if there is exactly one that can be it."""
    stacks = [module for module in encoder.modules() if isinstance(module, nn.ModuleList) and len(module) == layers]
    return stacks[0] if len(stacks) == 1 else None


def _detach_head(model: PreTrainedModel) -> PreTrainedModel:
    """The masked LM with all its weights, shared, but given states in place of its encoder."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    head = copy.deepcopy(model, shared | {id(model.base_model): _GivenStates()})
    return head.eval()
