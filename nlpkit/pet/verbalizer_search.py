"""Finds label words from a few examples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.clozes.cloze_batch import pad_clozes
from nlpkit.pet.clozes.examples import Example, label_number


def likelihood_ratios(log_probabilities: Tensor, labels: Tensor, count: int) -> Tensor:
    """How well each token tells each label from the rest.

    Source: PETAL (Schick, Schmid and Schuetze, 2020, arXiv 2010.13641, equation 5): the label against all others, both
    sides weighted alike however many examples they have. The score is the mean, over the label's own examples, of the
    token's log-likelihood ratio minus that over the rest's.

    Args:
        log_probabilities: of the vocabulary at the mask of each example, ``(examples, tokens)``.
        labels: of the examples, ``(examples,)``.
        count: number of labels.

    Returns:
        Nats, ``(labels, tokens)``; higher is better.

    Raises:
        ValueError: a label without examples.

    Example:
        >>> likelihood_ratios(torch.tensor([[-1.0, -3.0], [-3.0, -1.0]]), torch.tensor([0, 1]), 2).argmax(dim=1)
        tensor([0, 1])
    """
    own = torch.nn.functional.one_hot(labels, count).T.to(log_probabilities.dtype)  # (labels, examples)
    sizes = own.sum(dim=1)
    if (sizes == 0).any():
        raise ValueError(f"label number {int(sizes.argmin())} has no examples to search words from")
    if (sizes == len(labels)).any():
        raise ValueError("all examples have one label; a search needs something to tell it from")
    # log p(token | x) - log(1 - p(token | x)), for its own examples and against the others
    odds = log_probabilities - torch.log1p(-log_probabilities.exp().clamp(max=1 - 1e-6))
    inside = own @ odds / sizes[:, None]
    outside = (1 - own) @ odds / (len(labels) - sizes)[:, None]
    return inside - outside


@torch.inference_mode()
def search_verbalizer(
    classifier: PetClassifier,
    examples: Sequence[Example],
    words_per_label: int = 1,
    most_frequent: int = 10_000,
) -> dict[str, list[str]]:
    """Label words of one token that a model itself finds telling.

    Source: PETAL (arXiv 2010.13641).

    Args:
        classifier: gives the model, the pattern and the labels; its own label words are not looked at.
        examples: with labels, at least one of each.
        words_per_label: how many to find.
        most_frequent: candidates are the first so many ordinary tokens of the vocabulary, by the probability that the
            model gives them at the masks; rare tokens have extreme ratios by chance.

    Returns:
        Words of each label, best first; a word serves one label only.

    Raises:
        ValueError: the pattern has several slots, or a label has no examples.

    Note:
        One forward pass over the examples.
    """
    if classifier.pattern.slots != 1:
        raise ValueError(
            f"the search fills one slot; pattern {classifier.pattern.template!r} has {classifier.pattern.slots}"
        )
    tokenizer, collator = classifier.tokenizer, classifier.collator
    clozes = collator.encoder.encode(examples, [1])
    inputs = {
        name: tensor.to(classifier.device) for name, tensor in pad_clozes(clozes, tokenizer.pad_token_id).items()
    }
    rows = torch.arange(len(clozes), device=classifier.device)
    columns = torch.tensor([cloze.slots[0] for cloze in clozes], device=classifier.device)
    log_probabilities = classifier.log_probabilities_at(rows, columns, **inputs).cpu()  # (examples, vocabulary)
    names = _token_names(tokenizer, log_probabilities.shape[1])
    allowed = torch.tensor([_is_word(name) for name in names])
    frequent = (
        log_probabilities.exp().mean(dim=0).masked_fill(~allowed, -1.0).topk(min(most_frequent, int(allowed.sum())))
    )
    candidates = frequent.indices  # (candidates,)
    labels = torch.tensor([label_number(example, classifier.labels) for example in examples])
    ratios = likelihood_ratios(log_probabilities[:, candidates], labels, len(classifier.labels))
    ratios = ratios.masked_fill(ratios < ratios.max(dim=0).values, -torch.inf)  # a word serves its best label
    best = ratios.topk(words_per_label, dim=1).indices
    return {
        label: [names[number] for number in candidates[row].tolist()]
        for label, row in zip(classifier.labels, best, strict=True)
    }


def _token_names(tokenizer: PreTrainedTokenizerBase, size: int) -> list[str]:
    names = [""] * size
    for name, number in tokenizer.get_vocab().items():
        if number < size:
            names[number] = name
    return names


def _is_word(token: str) -> bool:
    """Whether a token is a word or its beginning rather than a special token, a continuation or punctuation."""
    return not token.startswith(("##", "[", "<")) and token.strip("▁Ġ").isalpha()
