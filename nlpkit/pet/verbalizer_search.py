"""Finds label words from a few examples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nlpkit.checked_number import checked_number
from nlpkit.modes import evaluating
from nlpkit.pet.classifiers.pet_classifier import PetClassifier
from nlpkit.pet.clozes.examples import Sources, label_number
from nlpkit.pet.clozes.known_labels import refuse_no_labels, warn_of_unlabelled
from nlpkit.pet.clozes.label_tokens import token_texts, tokenize_word
from nlpkit.pet.clozes.pattern import Pattern


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
    examples: Sources,
    words_per_label: int = 1,
    most_frequent: int = 10_000,
) -> dict[str, list[str]]:
    """Label words of one token that a model itself finds telling.

    Source: PETAL (arXiv 2010.13641).

    Args:
        classifier: gives the model, the pattern and the labels; its own label words are not looked at.
        examples: with labels, at least one of each, as ``nlpkit.pet.labelled_examples`` reads them.
        words_per_label: how many to find.
        most_frequent: candidates are the first so many words of the vocabulary, by the probability that the model
            gives them at the masks; rare ones have extreme ratios by chance.

    Returns:
        Words of each label, best first; a word serves one label only. They are texts, and a ``Verbalizer`` reads each
        as the token that was found.

    Raises:
        TypeError: ``words_per_label`` or ``most_frequent`` is no whole number.
        ValueError: one of these is below 1, the pattern has several slots, examples bring candidates of their own,
            there are no labels, one has no examples, or the vocabulary has too few words that are best for it.

    Note:
        One forward pass over the examples, in evaluation mode.
    """
    if classifier.pattern.slots != 1:
        raise ValueError(
            f"the search fills one slot; pattern {classifier.pattern.template!r} has {classifier.pattern.slots}"
        )
    if not classifier.labels:
        raise ValueError("the search needs common labels; these examples bring candidates of their own")
    checked_number("words_per_label", words_per_label, least=1, whole=True)
    checked_number("most_frequent", most_frequent, least=1, whole=True)
    encoder = classifier.collator.encoder
    given = classifier.labelled(examples).examples
    how = "give examples with labels, in a column 'label' for one, that are not None or NaN"
    refuse_no_labels([one.known_labels for one in given], given=False, how=how)
    warn_of_unlabelled([one.known_labels for one in given], "the search leaves such rows out")
    labelled = [one for one in given if one.label is not None]
    clozes = encoder.encode(labelled, [1])
    inputs = {name: tensor.to(classifier.device) for name, tensor in encoder.pad(clozes).items()}
    rows = torch.arange(len(clozes), device=classifier.device)
    columns = torch.tensor([cloze.slots[0] for cloze in clozes], device=classifier.device)
    with evaluating(classifier):
        log_probabilities = classifier.log_probabilities_at(rows, columns, **inputs).cpu()  # (examples, vocabulary)
    by_frequency = log_probabilities.exp().mean(dim=0).argsort(descending=True, stable=True)
    words = _words(by_frequency.tolist(), classifier, most_frequent)
    if len(words) < words_per_label * len(classifier.labels):
        raise ValueError(
            f"the vocabulary has {len(words)} words of one token that fit pattern {classifier.pattern.template!r}; "
            f"words_per_label={words_per_label} asks for more"
        )
    candidates = torch.tensor(list(words))  # (candidates,)
    labels = torch.tensor([label_number(example, classifier.labels) for example in labelled])
    ratios = likelihood_ratios(log_probabilities[:, candidates], labels, len(classifier.labels))
    ratios = ratios.masked_fill(ratios < ratios.max(dim=0).values, -torch.inf)  # a word serves its best label
    found = {}
    for label, row in zip(classifier.labels, ratios, strict=True):
        enough = int(row.isfinite().sum())
        if not enough:
            raise ValueError(f"no word tells label {label!r} from the others; give more examples, or words by hand")
        if enough < words_per_label:
            raise ValueError(
                f"of {len(words)} words, {enough} tell label {label!r} better than any other; "
                f"words_per_label={words_per_label} asks for more"
            )
        found[label] = [words[token] for token in candidates[row.topk(words_per_label).indices].tolist()]
    return found


def _words(tokens: Sequence[int], classifier: PetClassifier, count: int) -> dict[int, str]:
    """The first so many tokens that are words and written by this one token in the pattern, with the words."""
    tokenizer, pattern = classifier.tokenizer, classifier.pattern
    special = set(tokenizer.all_special_ids)
    found: dict[int, str] = {}
    for start in range(0, len(tokens), count):
        some = [token for token in tokens[start : start + count] if token not in special]
        for token, text in zip(some, token_texts(some, tokenizer), strict=True):
            if text.isalpha() and len(found) < count and _is_written_by(token, text, tokenizer, pattern):
                found[token] = text
    return found


def _is_written_by(token: int, text: str, tokenizer: PreTrainedTokenizerBase, pattern: Pattern) -> bool:
    try:
        return tokenize_word((text,), tokenizer, pattern) == ((token,),)
    except ValueError:
        return False
