"""Self-critical training: the model's own samples, judged by a reward."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from nlpkit.checked_number import checked_number
from nlpkit.losses.loss import at_least_fp32
from nlpkit.losses.self_critical import Baseline, policy_gradient
from nlpkit.modes import evaluating
from nlpkit.training.adversaries.adversary import Adversary
from nlpkit.training.adversaries.virtual_adversarial import VirtualAdversarial
from nlpkit.training.penalties.implicit_gradient import ImplicitGradient
from nlpkit.training.task_loss.stock_losses import with_head
from nlpkit.training.technique import Batch, Host, Items, Run, Technique


class SelfCritical(Technique):
    """Draw samples for every row, and make those with more reward than a baseline more probable.

    Source: self-critical sequence training, arXiv 1612.00563, whose baseline is ``"greedy"``; the mean reward of a
    row's other samples needs no further output. For rewards that have no gradient: BLEU, ROUGE, the right answer.

    Args:
        reward: called with token ids of samples, shape ``(rows * samples, length)``, padded behind their end, and the
            batch with each row repeated as often; returns numbers, shape ``(rows * samples,)``.
        weight: of the term.
        samples: per row.
        max_new_tokens: of a sample.
        baseline: see ``policy_gradient``.
        length_normalised: see ``policy_gradient``.
        task_weight: of the task's own loss, whose pass is left out with 0.
        prompts: makes of a batch what is given to ``generate``; ``None`` means all but the labels and the decoder's
            inputs, which is right for encoder-decoders. Prompts of decoders are padded on the left.

    Raises:
        ValueError: the model cannot generate, or is a decoder without ``prompts``; an adversary before it would move
            the model that samples are drawn from; with ``task_weight=0``, another technique has no pass to act in;
            or as ``policy_gradient``.

    Note:
        A step takes as long as generating ``samples`` outputs per row, and a pass over them. Samples are drawn with
        temperature 1 from all tokens and without dropout, whatever the model's ``generation_config``: from the model
        itself, as the gradient supposes. Begin with a model that was trained on targets. The mean reward is logged as
        ``self_critical/reward``.

    Example:
        >>> def brevity(samples, batch):
        ...     return -(samples != 0).sum(1).float()
        >>> SelfCritical(brevity).name
        'self_critical'
    """

    def __init__(
        self,
        reward: Callable[[Tensor, Batch], Tensor],
        weight: float = 1.0,
        *,
        samples: int = 4,
        max_new_tokens: int = 64,
        baseline: Baseline = "leave_one_out",
        length_normalised: bool = False,
        task_weight: float = 1.0,
        prompts: Callable[[Batch], Batch] | None = None,
    ) -> None:
        if baseline not in get_args(Baseline):
            raise ValueError(f"SelfCritical: baseline={baseline!r} is none of {', '.join(get_args(Baseline))}")
        compares = baseline in ("mean", "leave_one_out")
        hint = f"the baseline {baseline!r} compares samples of a row" if compares else ""
        self.samples = checked_number("SelfCritical: samples", samples, least=1 + compares, whole=True, hint=hint)
        self.weight = checked_number("SelfCritical: weight", weight, least=0)
        self.task_weight = checked_number("SelfCritical: task_weight", task_weight, least=0)
        self.max_new_tokens = checked_number("SelfCritical: max_new_tokens", max_new_tokens, least=1, whole=True)
        self.reward, self.baseline, self.length_normalised, self.prompts = reward, baseline, length_normalised, prompts

    def prepare(self, trainer: Host) -> None:
        """Needs a model that generates."""
        self._trainer, self._model = trainer, with_head(trainer.model)
        name = type(self._model).__name__
        if not getattr(self._model, "can_generate", lambda: False)():
            raise ValueError(f"SelfCritical: {name} cannot generate; train one with a language modelling head")
        if self.prompts is None and not self._model.config.is_encoder_decoder:
            raise ValueError(
                f"SelfCritical: rows of {name} hold the answer too: say what of a batch is the prompt, prompts=lambda "
                "batch: {'input_ids': ..., 'attention_mask': ...}, padded on the left"
            )
        self._refuse_what_moves_samples(trainer.techniques)
        if not self.task_weight:
            self._refuse_what_has_no_pass(trainer.techniques)

    def _refuse_what_moves_samples(self, techniques: Sequence[Technique]) -> None:
        for other in techniques[: techniques.index(self)]:
            moves = isinstance(other, Adversary | ImplicitGradient) and not isinstance(other, VirtualAdversarial)
            if moves:
                name = type(other).__name__
                raise ValueError(
                    f"{name} before SelfCritical moves the model while samples are drawn, so that they are not its "
                    f"own: list it behind, techniques=[SelfCritical(...), {name}(...)], for the task's own loss"
                )

    def _refuse_what_has_no_pass(self, techniques: Sequence[Technique]) -> None:
        place = techniques.index(self)
        for number, other in enumerate(techniques):
            within = number > place and type(other).step is not Technique.step
            if within or type(other).terms is not Technique.terms:
                name = type(other).__name__
                raise ValueError(
                    f"SelfCritical(task_weight=0) runs no pass for the task's own loss, and {name} acts in those "
                    f"alone: leave {name} out, or give a task_weight above 0"
                )

    def items(self, batch: Batch) -> dict[str, Tensor]:
        """Rows."""
        return {self.name: torch.tensor(len(batch["input_ids"]))}

    def step(self, run: Run, model: nn.Module, batch: Batch, items: Items) -> Tensor:
        """The batch as it is, then samples for it."""
        if self.task_weight:
            loss = run(batch, weight=self.task_weight)
        else:
            active = [technique for technique in self._trainer.techniques if technique.active]
            self._refuse_what_has_no_pass(active)  # where a schedule has come to 0
            loss = torch.zeros(())
        inputs = self._inputs(batch)
        rows = len(batch["input_ids"])
        samples = self._generate(inputs, self.samples)
        rewards = self._rewards(samples, _repeated(batch, self.samples)).view(rows, self.samples)
        greedy = self._rewards(self._generate(inputs, None), batch) if self.baseline == "greedy" else None
        log_probs, mask = self._log_probs(run, _repeated(inputs, self.samples), samples)
        values = policy_gradient(
            log_probs.unflatten(0, (rows, -1)),
            rewards,
            mask.unflatten(0, (rows, -1)),
            baseline=self.baseline,
            greedy=greedy,
            length_normalised=self.length_normalised,
        )
        run.log(f"{self.name}/reward", rewards.double().mean(1).sum() / items[self.name])
        return loss + run.backward(self.name, self.weight * values.sum() / items[self.name]).to(loss.device)

    def _rewards(self, samples: Tensor, batch: Batch) -> Tensor:
        rewards = torch.as_tensor(self.reward(samples, batch), device=samples.device)
        if rewards.shape != samples.shape[:1]:
            raise ValueError(
                f"SelfCritical: reward gave numbers of shape {tuple(rewards.shape)} for {len(samples)} samples; give "
                f"({len(samples)},)"
            )
        return rewards

    def _inputs(self, batch: Batch) -> Batch:
        """What samples are drawn from, without what collators make of labels: the decoder's inputs are the answer."""
        columns = self._trainer.task_loss.columns
        given = batch if self.prompts is None else self.prompts(batch)
        return {name: v for name, v in given.items() if name not in columns and not name.startswith("decoder_")}

    @torch.no_grad()
    def _generate(self, inputs: Batch, samples: int | None) -> Tensor:
        """Tokens behind the prompt, shape ``(rows * samples, length)``; without a number of samples the likeliest."""
        drawn = {"do_sample": True, "num_return_sequences": samples, "top_k": 0} if samples else {"do_sample": False}
        with _as_it_is(self._model):
            found: Tensor = self._model.generate(**inputs, **drawn, max_new_tokens=self.max_new_tokens)
        prompt = 1 if self._model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        return found[:, prompt:]

    def _log_probs(self, run: Run, inputs: Batch, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Of each token, and which tokens are a sample's; both of the samples' shape."""
        length = samples.shape[1]
        if self._model.config.is_encoder_decoder:
            start = samples.new_full((len(samples), 1), self._model.generation_config.decoder_start_token_id)
            logits = run.forward(inputs | {"decoder_input_ids": torch.cat([start, samples[:, :-1]], dim=1)})["logits"]
        else:
            mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
            mask = torch.cat([mask, mask.new_ones(samples.shape)], dim=1)
            whole = inputs | {"input_ids": torch.cat([inputs["input_ids"], samples], dim=1), "attention_mask": mask}
            if "position_ids" in inspect.signature(self._model.forward).parameters:
                whole["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
            logits = run.forward(whole)["logits"][:, -length - 1 : -1]
        chosen = at_least_fp32(logits).log_softmax(-1).gather(-1, samples.unsqueeze(-1)).squeeze(-1)
        return chosen, _until_end(samples, self._model.generation_config.eos_token_id)


def _until_end(samples: Tensor, ends: int | list[int] | None) -> Tensor:
    """True up to the first end of a sample, which belongs to it."""
    if ends is None:
        return torch.ones_like(samples, dtype=torch.bool)
    ended = torch.isin(samples, torch.as_tensor(ends, device=samples.device)).long()
    return ended.cumsum(1) - ended == 0


def _repeated(batch: Batch, times: int) -> Batch:
    def repeat(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.repeat_interleave(times, dim=0) if value.dim() else value
        return [each for each in value for _ in range(times)] if isinstance(value, list) else value

    return {name: repeat(value) for name, value in batch.items()}


@contextmanager
def _as_it_is(model: Any) -> Iterator[None]:
    """The model without dropout, and without settings that change what it generates."""
    was = model.generation_config
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    model.generation_config = GenerationConfig(**{name: getattr(was, name) for name in tokens})
    try:
        with evaluating(model):
            yield
    finally:
        model.generation_config = was
