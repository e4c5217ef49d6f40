"""Hidden states and predictions of any masked language model at chosen rows, and no more work than they need."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoModelForMaskedLM,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutput

from nlpkit.compat import attention_of_positionwise_layer, quiet_loading
from nlpkit.losses.normalised import at_least_fp32

Rows = tuple[Tensor, Tensor]


class _EnoughSeenError(Exception):
    """Ends a forward pass at the deepest layer asked for."""


class _GivenStates(nn.Module):
    """Stands in for an encoder: returns the states that it is given as embeddings."""

    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=inputs_embeds)


class MaskedEncoder:
    """An encoder, read at chosen layers and rows, and the vocabulary head of its masked LM where it has one.

    Args:
        model: an encoder or a masked language model of transformers; put into evaluation mode.
        has_head: whether the vocabulary head has trained weights; by default, whether there is one.
        bf16: multiply in bf16 (autocast); states come out in fp32 all the same.

    Raises:
        ValueError: ``model`` is a decoder or has one: it does not see both sides of a mask.

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
        config: Any = model.config
        if config.is_encoder_decoder or getattr(config, "is_decoder", False) or _is_causal(config):
            raise ValueError(
                f"{type(model).__name__} is, or has, a decoder, which does not see both sides of a mask; "
                "use an encoder or a masked language model"
            )
        self.model, self.bf16 = model.eval(), bf16
        self.encoder: nn.Module = model.base_model
        self.layers: int = config.num_hidden_layers
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
            model, report = AutoModelForMaskedLM.from_pretrained(name, output_loading_info=True, **settings)
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
        """Tokens that fit, as far as the model's position embeddings tell; ``None`` where they do not."""
        for name, module in self.encoder.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                # Models after RoBERTa count positions from the one after the padding's.
                return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        found: int | None = getattr(self.model.config, "max_position_embeddings", None)
        return found

    def fingerprint(self) -> str:
        """A hash of the weights, hexadecimal; the same wherever they lie and whatever the folder's name."""
        digest = hashlib.blake2b(digest_size=16)
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
        """
        deepest = max(layers)
        with self.autocast():
            if self._stack is None:
                every = self.encoder(input_ids=input_ids, output_hidden_states=True).hidden_states
                return {layer: at_least_fp32(every[layer][rows]) for layer in layers}
            found: dict[int, Tensor] = {}
            with self._hooks(rows, layers, deepest, found):
                try:
                    last = self.encoder(input_ids=input_ids).last_hidden_state
                except _EnoughSeenError:
                    pass
                else:
                    found[deepest] = last
        narrowed = self._attention_of(deepest) is not None
        found[deepest] = found[deepest][0] if narrowed else found[deepest][rows]
        return {layer: at_least_fp32(states) for layer, states in found.items()}

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


def _is_causal(config: Any) -> bool:
    """Whether transformers knows this kind of model as a causal one only."""
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING


def _find_stack(encoder: nn.Module, layers: int) -> nn.ModuleList | None:
    """The list of an encoder's layers, if there is exactly one that can be it."""
    stacks = [module for module in encoder.modules() if isinstance(module, nn.ModuleList) and len(module) == layers]
    return stacks[0] if len(stacks) == 1 else None


def _detach_head(model: PreTrainedModel) -> PreTrainedModel:
    """The masked LM with all its weights, shared, but given states in place of its encoder."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    head = copy.deepcopy(model, shared | {id(model.base_model): _GivenStates()})
    return head.eval()
