"""FSDP, on CPUs too, and refused where it would train something else than was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from transformers import Trainer

from nlpkit.compat import sharding_on_cpus, tied_heads_sharded_whole
from nlpkit.training.frame.refusals import refuse_old_sharding


class ShardingMixin(Trainer):
    """What makes a Trainer shard parameters wherever ``accelerate launch --use_fsdp`` or ``fsdp=True`` asks for it."""

    # Checked on transformers 5.23.0: `create_accelerator_and_postprocess` makes the only Accelerator of a Trainer;
    # `save_model` leaves no model, without a word, where checkpoints are sharded; `_prepare_for_training` wraps and
    # shards a model, `_wrap_model` comes before that.

    def create_accelerator_and_postprocess(self) -> None:
        """Make the Accelerator as the Trainer does; on CPUs it shards, too."""
        refuse_old_sharding(self.args)
        with sharding_on_cpus():
            super().create_accelerator_and_postprocess()

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        with tied_heads_sharded_whole() if self.is_fsdp_enabled else nullcontext():
            return super()._prepare_for_training(*args, **kwargs)

    def _wrap_model(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        if self.is_fsdp_enabled and not self.accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap:
            self.accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = blocks_to_shard(model)
        return super()._wrap_model(model, *args, **kwargs)

    def whole_state_dict(self) -> dict[str, Tensor]:
        """The weights of the model, gathered from all processes if they are sharded.

        Returns:
            Tensors by name, on the CPU if they were gathered: then the first process has them all, the others none.

        Note:
            All processes must call it.
        """
        model: Any = self.model
        found: dict[str, Tensor] = self.accelerator.get_state_dict(model)
        if not self.is_fsdp_enabled:
            return found
        every, once = (dict(model.named_parameters(remove_duplicate=once)) for once in (False, True))
        tied = every.keys() - once.keys()  # gathered one by one, they would be saved as often
        return {name: tensor for name, tensor in found.items() if name not in tied}

    @contextmanager
    def unsharded(self) -> Iterator[None]:
        """Within, parts of a sharded model may be run by themselves; without FSDP nothing changes.

        Note:
            All processes must enter it, after a pass of the whole model. Weights are changed outside of it, since
            within some are copies.
        """
        model: Any = self.model
        sharded: list[Any] = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for module in sharded[:1]:  # the model itself, which gathers what belongs to no block; blocks do it themselves
            module.unshard()
        try:
            yield
        finally:
            for module in sharded:
                module.reshard()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model as the Trainer does; also where checkpoints are in shards, which are no model to load."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
        elif not _internal_call or "FULL" in str(self.accelerator.state.fsdp_plugin.state_dict_type):
            self._save(output_dir, state_dict=self.whole_state_dict())


def blocks_to_shard(model: Any) -> list[str]:
    """The classes of a model's blocks that FSDP gathers one at a time.

    Args:
        model: of transformers, or with one inside.

    Returns:
        Names of those that transformers does not split, but for the one that holds the table of embeddings: accelerate
        puts that with the head that it may be tied to, and torch refuses it in two places.

    Example:
        >>> from transformers import BertConfig, BertForMaskedLM
        >>> blocks_to_shard(BertForMaskedLM(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1,
        ...                                            num_attention_heads=2, intermediate_size=8)))
        ['BertLayer']
    """
    names = getattr(model, "_no_split_modules", None) or ()
    table = model.get_input_embeddings() if names else None
    holders = {type(module).__name__ for module in model.modules() if any(part is table for part in module.modules())}
    return sorted(set(names) - holders)
