"""Learning rates that fall from the head down to the embeddings."""

from __future__ import annotations

from typing import Any

from torch import nn

from nlpkit.checked_number import checked_number
from nlpkit.training.heads import head_parameters, split_by_rate
from nlpkit.training.task_loss.stock_losses import with_head
from nlpkit.training.technique import Technique
from nlpkit.training.weights.depths import depths


class LayerRates(Technique):
    """A lower learning rate for each block further down, and one of its own for the head.

    Source: ULMFiT, arXiv 1801.06146, section 3.2, with the powers of arXiv 2003.10555: the highest block has ``decay``
    times the optimizer's rate, each block below it ``decay`` times that of the one above, the embeddings the least,
    and whatever is above the blocks the whole of it.

    Args:
        decay: from a block to the next one down; 1 means one rate for all.
        head_rate: the learning rate of a head that begins at random (``head_modules``); ``None`` means as above.

    Raises:
        ValueError: the decay is not in (0, 1]; the model has no blocks, or no head that begins at random.

    Note:
        It costs nothing. Schedules multiply all rates alike. The technique acts where the Trainer makes the optimizer,
        so give that as ``optimizer_cls_and_kwargs``, not as ``optimizers``. ``rates`` holds what each parameter has
        got, by name.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> import torch
        >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                              intermediate_size=8))
        >>> technique = LayerRates(decay=0.5)
        >>> groups = technique.groups(model, torch.optim.SGD(model.parameters(), lr=1.0).param_groups)
        >>> [(len(group["params"]), group["lr"]) for group in groups]
        [(2, 1.0), (16, 0.5), (5, 0.25)]
    """

    spans_training = True

    def __init__(self, decay: float = 0.9, head_rate: float | None = None) -> None:
        if not 0 < decay <= 1:
            raise ValueError(f"LayerRates: decay={decay} must be in (0, 1]")
        if head_rate is not None:
            checked_number("LayerRates: head_rate", head_rate, least=0)
        self.decay, self.head_rate = decay, head_rate
        self.rates: dict[str, float] = {}

    def groups(self, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Each group in parts, by the rates of its parameters."""
        found, top = depths(model)
        names = {parameter: name for name, parameter in model.named_parameters()}  # a loss has others of its own
        of_head = {} if self.head_rate is None else dict.fromkeys(self._head(model), self.head_rate)

        def rate_of(parameter: nn.Parameter, usual: float) -> float:
            depth = found[names[parameter]] if parameter in names else top
            return of_head.get(parameter, usual * self.decay ** (top - depth))

        parts = split_by_rate(groups, rate_of)
        self.rates = {names[p]: part["lr"] for part in parts for p in part["params"] if p in names}
        # The Trainer logs the rate of the first group.
        return sorted(parts, key=lambda part: -part["lr"])

    def _head(self, model: nn.Module) -> set[nn.Parameter]:
        head = head_parameters(model)
        if not head:
            name = type(with_head(model)).__name__
            raise ValueError(f"LayerRates: {name} has no head that begins at random, for head_rate=")
        return head
