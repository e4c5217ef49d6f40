"""Muon for a whole model: torch's Muon for its hidden matrices and AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nlpkit.checked_number import checked_number
from nlpkit.optimizers.muon_routes import muon_routes


class Muon(Optimizer):
    """One optimizer that moves hidden matrices as ``torch.optim.Muon`` does, and all else as ``torch.optim.AdamW``.

    Source: kellerjordan.github.io/posts/muon, arXiv 2502.16982 (updates scaled by ``0.2 sqrt(max(rows, columns))``, so
    that AdamW's rate and decay serve both) and kexue.fm/archives/11416. What is whose is told by ``muon_routes``.

    Args:
        model: what is trained.
        lr: of matrices; with the default scaling, one that suits AdamW.
        adamw_lr: of all else; ``None`` means ``lr``.
        weight_decay: of matrices and embeddings; norms and biases have none.
        momentum: of Muon.
        nesterov: whether Muon looks ahead.
        ns_steps: steps of the Newton-Schulz iteration.
        adjust_lr_fn: as ``torch.optim.Muon`` takes it; ``"original"`` needs a rate of its own, about 0.02.
        betas: of AdamW.
        eps: of AdamW.
        adamw: as ``muon_routes`` takes it.
        blocks: likewise.

    Raises:
        TypeError: it is given parameters or groups of them, as by ``optimizer_cls_and_kwargs=(Muon, {...})``.
        ValueError: as ``muon_routes``; no matrix is left for Muon; or a setting is out of its range.

    Note:
        Groups, states, schedules and checkpoints are those of an ordinary optimizer; each group's ``"method"`` says
        which of the two it follows, and ``routes`` where each tensor goes. With ``Trainer``: ``optimizers=(Muon(model,
        lr=1e-3), None)``; or, where techniques make groups too, ``optimizer_cls_and_kwargs=(lambda: Muon, {"lr":
        1e-3})``. Gradients are orthogonalised in bf16, by torch. Not for fine-tuning with LoRA, nor for sharded
        tensors; a model that AdamW has pretrained gains little from it.

    Example:
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2))
        >>> optimizer = Muon(model, lr=1e-3)
        >>> for route in optimizer.routes[2:7:2]:
        ...     print(route.parameter, route.optimizer, route.why, route.parts)
        transformer.h.0.ln_1.weight adamw vector ()
        transformer.h.0.attn.c_attn.weight muon 3 matrices in one (8, 8, 8)
        transformer.h.0.attn.c_proj.weight muon matrix (8,)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        lr: float = 1e-3,
        adamw_lr: float | None = None,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        adjust_lr_fn: str = "match_rms_adamw",
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        adamw: Sequence[str] = (),
        blocks: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(
                "Muon tells by the model's modules what is a matrix of its own, and was given "
                f"{type(model).__name__}: give it the model; with a Trainer, whose groups have no modules, "
                'optimizer_cls_and_kwargs=(lambda: Muon, {"lr": 1e-3})'
            )
        for name, rate in (("lr", lr), ("adamw_lr", lr if adamw_lr is None else adamw_lr), ("eps", eps)):
            checked_number(f"Muon: {name}", rate, least=0)
        checked_number("Muon: weight_decay", weight_decay, least=0)
        for name, share in (("momentum", momentum), ("betas[0]", betas[0]), ("betas[1]", betas[1])):
            checked_number(f"Muon: {name}", share, least=0, below=1)
        checked_number("Muon: ns_steps", ns_steps, least=1, most=99, whole=True)
        self.routes = muon_routes(model, adamw=adamw, blocks=blocks)
        parameters = dict(model.named_parameters())
        by_kind: dict[Any, list[Tensor]] = defaultdict(list)
        for route in self.routes:
            parameter = parameters[route.parameter]
            vector = parameter.dim() < 2
            kind = (route.parts, route.outputs_axis) if route.optimizer == "muon" else vector
            by_kind[kind].append(parameter)
        vectors, rest = by_kind.pop(True, []), by_kind.pop(False, [])
        if not by_kind:
            raise ValueError(f"no trained matrix of {type(model).__name__} is left for Muon: use torch.optim.AdamW")
        # The settings of groups are those of the two optimizers themselves, so that they hold all that those want.
        others = [
            {"params": own, "weight_decay": decay} for own, decay in ((vectors, 0.0), (rest, weight_decay)) if own
        ]
        rate = lr if adamw_lr is None else adamw_lr
        self._adamw = torch.optim.AdamW([torch.empty(0)], lr=rate, betas=betas, eps=eps, fused=True).defaults
        matrices = [
            {"params": own, "parts": list(parts), "outputs_axis": axis} for (parts, axis), own in by_kind.items()
        ]
        muon_groups = torch.optim.Muon(
            matrices, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
        ).param_groups  # fmt: skip
        super().__init__([*others, *({**group, "method": "muon"} for group in muon_groups)], {})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; one without a ``"method"``, as of the parameters of a loss, is AdamW's, by its settings."""
        own = {} if "method" in param_group else {**self._adamw, "weight_decay": 0.0, "method": "adamw"}
        super().add_param_group(own | param_group)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; returns the loss that ``closure`` computes again, if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        _adamw_step([group for group in self.param_groups if group["method"] == "adamw"], self.state)
        for group in self.param_groups:
            if group["method"] == "muon":
                self._muon_step(group)
        return loss

    def _muon_step(self, group: dict[str, Any]) -> None:
        """Torch's Muon on views of the parts: the tensors themselves are moved, and their momentum is kept whole."""
        views: list[Tensor] = []
        states: dict[Tensor, dict[str, Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(parameter.grad)
            whole = (parameter.detach(), parameter.grad, state["momentum_buffer"])
            for part, gradient, momentum in zip(*(_parts(tensor, group) for tensor in whole), strict=True):
                part.grad = gradient
                views.append(part)
                states[part] = {"momentum_buffer": momentum}
        if views:
            inner = torch.optim.Muon([{**group, "params": views}])
            inner.state.update(states)
            inner.step()


def _parts(tensor: Tensor, group: dict[str, Any]) -> Iterator[Tensor]:
    """Views of the matrices in a tensor, outputs first."""
    for part in tensor.split(group["parts"], dim=group["outputs_axis"]):
        yield part.T if group["outputs_axis"] else part


def _adamw_step(groups: list[dict[str, Any]], state: Any) -> None:
    if not groups:
        return
    inner = torch.optim.AdamW([{**group, "params": group["params"]} for group in groups])
    inner.state = state
    inner.step()
