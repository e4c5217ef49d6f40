"""Logistic regression on texts as they are and on a frozen model's states: the simple rivals of training a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from nlpkit.extras import install_hint
from nlpkit.fewshot.grid.protocol import RunData, RunOutcome
from nlpkit.fewshot.methods.prompt_settings import PromptSettings
from nlpkit.pet import Example
from nlpkit.pet.classifiers.mean_states import MeanStates
from nlpkit.training import fast_arithmetic

#: Inverse strengths of the penalty, the strongest first, of which dev chooses.
STRENGTHS = tuple(10.0**power for power in range(-4, 4))
_BATCH = 64

#: A column of texts to one row of numbers each: an array, or a sparse one.
Vectorise = Callable[[list[str]], Any]


def tf_idf(run: RunData) -> RunOutcome:
    """Logistic regression on the frequencies of characters and of runs of two and three, without a language model.

    Source: Salton and Buckley, *Term-weighting approaches in automatic text retrieval*, 1988, as scikit-learn has it,
    with logarithms of frequencies; how rare a run is, is counted on training and unlabelled texts.

    Args:
        run: a run of the protocol.

    Returns:
        A predictor whose penalty was chosen on dev, which ``details`` names.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: examples bring candidates of their own.
    """
    refuse_missing_scikit_learn()
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings = PromptSettings.of(run)
    counted = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    unlabelled = run.unlabelled[: settings.most_unlabelled]
    columns = _columns([*run.train, *unlabelled], run, settings)
    counted.fit(text for column in columns for text in column)
    return _regression(run, settings, lambda texts: csr_array(counted.transform(texts)))


def frozen_means(run: RunData) -> RunOutcome:
    """Logistic regression on the means of the model's last hidden states, none of whose weights is trained.

    Args:
        run: a run of the protocol.

    Returns:
        A predictor whose penalty was chosen on dev, which ``details`` names.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: examples bring candidates of their own.

    Note:
        A pass of the model for each text, once for all splits of a grid: later splits take fewer seconds.
    """
    refuse_missing_scikit_learn()
    settings = PromptSettings.of(run)
    encoder = MeanStates.from_pretrained(settings.model, settings.max_length)
    known = _vectors_of(settings.model, settings.model_files, settings.max_length)
    return _regression(run, settings, _FrozenMeans(encoder, known))


class _FrozenMeans:
    """Texts to the means of a model that does not change, which is why none is read twice.

    Args:
        encoder: makes vectors of texts.
        known: vectors that it has made, to which new ones are added.
    """

    def __init__(self, encoder: MeanStates, known: dict[str, np.ndarray]) -> None:
        self._encoder, self._known = encoder, known

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Vectors, ``(texts, hidden)``."""
        new = sorted(set(texts) - self._known.keys(), key=lambda text: (len(text), text))
        with fast_arithmetic():
            for start in range(0, len(new), _BATCH):
                batch = new[start : start + _BATCH]  # of about one length
                self._known.update(zip(batch, self._encoder(batch).float().cpu().numpy(), strict=True))
        return np.stack([self._known[text] for text in texts])


@lru_cache(maxsize=1)
def _vectors_of(model: str, model_files: str, max_length: int) -> dict[str, np.ndarray]:
    """Kept for the runs of a task, which share most of what is scored; no model is, since their memory is measured."""
    return {}


def _regression(run: RunData, settings: PromptSettings, vectorise: Vectorise) -> RunOutcome:
    """Fit with each penalty, and choose one on dev; among equals the strongest."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = partial(_rows, run=run, settings=settings, vectorise=vectorise)
    train = rows(run.train)
    scaling = [StandardScaler()]
    if not isinstance(train, np.ndarray):  # frequencies, which have their scale
        rows, scaling = partial(_in_span, train, rows), []
    train, dev = rows(run.train), rows(run.dev)
    labels = [example.label for example in run.train]

    def fitted(strength: float) -> Any:
        return make_pipeline(*scaling, LogisticRegression(C=strength, max_iter=1000)).fit(train, labels)

    models = {strength: fitted(strength) for strength in STRENGTHS}
    scores = {
        strength: run.dev_score(lambda _, model=model: model.predict(dev).tolist())  # type: ignore[misc]
        for strength, model in models.items()
    }
    best = max(STRENGTHS, key=lambda strength: (scores[strength], -strength))
    return RunOutcome(lambda examples: models[best].predict(rows(examples)).tolist(), {"C": best})


def _rows(examples: Sequence[Example], run: RunData, settings: PromptSettings, vectorise: Vectorise) -> Any:
    """A text as its numbers; a pair as the differences and the products of those of both."""
    first, *others = (vectorise(column) for column in _columns(examples, run, settings))
    if not others:
        return first
    parts = [abs(first - others[0]), first * others[0]]
    if isinstance(first, np.ndarray):
        return np.hstack(parts)
    from scipy.sparse import hstack

    return hstack(parts, format="csr")


def _in_span(train: Any, rows: Callable[[Sequence[Example]], Any], examples: Sequence[Example]) -> np.ndarray:
    """Sparse rows as coordinates within the span of the training rows, of which a penalised model sees no more.

    They are as many as training rows, where counts have half a million columns.
    """
    values, vectors = np.linalg.eigh((train @ train.T).toarray())
    kept = values > 1e-9 * values[-1]
    basis = vectors[:, kept] / np.sqrt(values[kept])
    return np.asarray((rows(examples) @ train.T).toarray() @ basis)


def _columns(examples: Sequence[Example], run: RunData, settings: PromptSettings) -> list[list[str]]:
    if run.task.read_candidates is not None:
        raise ValueError(
            f"logistic regression needs labels common to all examples; those of {run.task.name} bring candidates"
        )
    if len(settings.fields) > 2 or not set(settings.fields) <= set(run.task.text_fields):
        raise ValueError(
            f"logistic regression takes one text, or two of a pair; fields={list(settings.fields)} of "
            f"{run.task.name}, which has {', '.join(run.task.text_fields)}: name one or two of these in its settings"
        )
    return [[example.fields[name] for example in examples] for name in settings.fields]


def refuse_missing_scikit_learn() -> None:
    """See that these methods can run, before any other one does.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError(f"logistic regression is scikit-learn's; {install_hint('eval')}", name="sklearn") from error
