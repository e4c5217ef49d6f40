"""P-tuning: tokens of the pattern that are trained instead of written."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.training.objective import Objective, ObjectiveWrapper

#: Output bias of tokens that are no answer; large enough for every softmax, and representable in fp16.
NEVER = -1e4


def add_soft_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int) -> list[int]:
    """Give a model new tokens to be trained, each starting as a random ordinary token's embedding.

    Source: P-tuning (Liu et al., 2021, arXiv 2103.10385, section 3.2); kexue.fm/archives/8295 uses unused tokens.

    Args:
        model: its embeddings grow by ``count`` rows, and so does its tied output layer.
        tokenizer: learns the names ``[soft0]``, ``[soft1]``, ...
        count: how many.

    Returns:
        Their ids, for ``PetClassifier(soft_token_ids=...)``.

    Note:
        As ordinary tokens they are saved with the model and the tokenizer, and need no code of this package to load.
        The output layer's bias keeps them from ever being predicted. Starting points are drawn from torch's generator.
    """
    names = [f"[soft{number}]" for number in range(count)]
    ordinary = [number for number in range(len(tokenizer)) if number not in set(tokenizer.all_special_ids)]
    tokenizer.add_tokens(names, special_tokens=True)
    ids: list[int] = [tokenizer.get_vocab()[name] for name in names]
    embeddings: Any = model.get_input_embeddings()
    if max(ids) >= embeddings.weight.shape[0]:
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
        embeddings = model.get_input_embeddings()
    starts = torch.tensor(ordinary)[torch.randint(len(ordinary), (count,))]
    with torch.no_grad():
        embeddings.weight[ids] = embeddings.weight[starts]
        bias = getattr(model.get_output_embeddings(), "bias", None)
        if bias is not None:
            bias[ids] = NEVER
    return ids


class SoftPromptEncoder(nn.Module):
    """Embeddings of the soft tokens as the output of a small LSTM, which couples them while they are trained.

    Source: P-tuning (arXiv 2103.10385, equation 5): a bidirectional LSTM and a two-layer perceptron.

    Args:
        start: embeddings to begin with, ``(tokens, hidden)``; the output differs from them by what the network adds,
            whose last layer starts at zero, so that training begins at the pretrained embeddings.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        hidden = start.shape[1]
        self.start = nn.Parameter(start.clone())
        self.lstm = nn.LSTM(hidden, hidden // 2, bidirectional=True, batch_first=True)
        last = nn.Linear(hidden, hidden)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(hidden // 2 * 2, hidden), nn.ReLU(), last)
        self.to(start.dtype)

    def forward(self) -> Tensor:
        """The embeddings, ``(tokens, hidden)``."""
        coupled: Tensor = self.lstm(self.start[None])[0][0]
        embeddings: Tensor = self.start + self.mlp(coupled)
        return embeddings


class SoftPrompt(nn.Module):
    """Embeddings of the soft tokens, trained directly.

    Args:
        start: embeddings to begin with, ``(tokens, hidden)``.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(start.clone())

    def forward(self) -> Tensor:
        """The embeddings, ``(tokens, hidden)``."""
        return self.embeddings


class PTuningLoss(ObjectiveWrapper[PetClassifier]):
    """Any objective, with the pattern's soft tokens as what is trained.

    Source: P-tuning (arXiv 2103.10385); kexue.fm/archives/8295, which trains the embeddings directly.

    Args:
        objective: what to train on; its classifier's pattern has soft tokens.
        train: ``"prompt"`` trains the soft tokens alone, for few examples; ``"all"`` trains the model with them.
        reparameterize: couple the soft tokens by an LSTM while training; ``finish`` writes its result into the
            embeddings.

    Raises:
        ValueError: the pattern has no soft tokens, or ``train`` is unknown.

    Note:
        With ``"prompt"`` the rest of the embedding matrix is frozen exactly: the soft tokens are parameters of their
        own, put in place of the embedding's rows, so that weight decay and momentum never touch other rows.
    """

    def __init__(
        self,
        objective: Objective[PetClassifier],
        train: Literal["prompt", "all"] = "prompt",
        reparameterize: bool = False,
    ) -> None:
        classifier = objective.classifier
        if not isinstance(classifier, PetClassifier) or not classifier.collator.encoder.soft_token_ids:
            raise ValueError("the pattern has no soft tokens to train; write {soft} or {soft:4} into it")
        if train not in ("prompt", "all"):
            raise ValueError(f"train={train!r} is unknown; use 'prompt' or 'all'")
        super().__init__(objective)
        self.ids: list[int] = classifier.collator.encoder.soft_token_ids
        embeddings: Any = classifier.model.get_input_embeddings()
        start = embeddings.weight[self.ids].detach()
        self.prompt = SoftPromptEncoder(start) if reparameterize else SoftPrompt(start)
        if train == "prompt":
            classifier.requires_grad_(False)
        self._hook = embeddings.register_forward_hook(self._replace)

    def _replace(self, embeddings: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        (ids,) = inputs
        rows = self.prompt()  # (tokens, hidden)
        for row, identifier in zip(rows, self.ids, strict=True):
            output = torch.where((ids == identifier)[..., None], row.to(output.dtype), output)
        return output

    def finish(self) -> PetClassifier:
        """Write the trained soft tokens into the model's embeddings, take the machinery out, and finish the inner one.

        Returns:
            The classifier, which gives the same answers without this objective.
        """
        with torch.no_grad():
            embeddings: Any = self.classifier.model.get_input_embeddings()
            embeddings.weight[self.ids] = self.prompt()
        self._hook.remove()
        self.classifier.requires_grad_(True)
        return self.objective.finish()
