"""Embeddings turned and stretched so that their directions are uncorrelated and vary alike (BERT-whitening)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nlpkit.checked_number import checked_number
from nlpkit.embeddings import Embeddings, as_points
from nlpkit.one_text import list_of_texts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense


@dataclass(frozen=True)
class Whitening:
    """A mean to take away and a matrix to multiply with.

    Attributes:
        mean: fp64, shape ``(dimension,)``.
        matrix: fp64, shape ``(dimension, kept)``; its columns go from the direction that varied most to the one that
            varied least.
    """

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(cls, embeddings: Embeddings, dimensions: int | None = None) -> Whitening:
        """Find the whitening of embeddings.

        Source: kexue.fm/archives/8069 and arXiv 2103.15316, algorithm 1: with the covariance ``U diag(v) U^T``, the
        matrix is ``U diag(v^-1/2)``, of which the first columns are kept.

        Args:
            embeddings: of texts like those that will be compared, shape ``(texts, dimension)``. Labels are not needed.
            dimensions: how many to keep; by default all that vary, which of a BERT are all but one: its last
                normalisation makes a weighted sum of each state the same.

        Returns:
            The whitening, after which the embeddings have mean 0 and covariance 1.

        Raises:
            TypeError: ``dimensions`` is no whole number, or embeddings hold no real numbers.
            ValueError: more dimensions than vary among the texts; one text; embeddings that are empty or not finite.

        Note:
            Memory is that of the embeddings in fp64 and of a few ``dimension x dimension`` matrices. It helps encoders
            that were not trained to compare sentences; those that were, it often harms (docs/similarity.md).

        Example:
            >>> points = np.random.default_rng(0).normal(size=(500, 3)) @ np.diag([9.0, 1.0, 0.1]) + 5
            >>> white = Whitening.fit(points).transform(points)
            >>> bool(np.allclose(np.cov(white.T, ddof=0), np.eye(3)))
            True
        """
        points = as_points(embeddings, "embeddings")
        if len(points) < 2:
            raise ValueError("embeddings of one text do not vary; give those of many texts")
        if dimensions is not None:
            checked_number("dimensions", dimensions, least=1, most=points.shape[1], whole=True)
        rounding = torch.finfo(points.dtype).eps * points.shape[1]
        values = points.double().cpu().numpy()
        unit = np.ldexp(1.0, np.frexp(np.abs(values).max())[1] - 1)  # so that no square is beyond fp64
        values = values / unit
        mean = values.mean(axis=0)
        centred = values - mean
        variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
        variances, directions = variances[::-1], directions[:, ::-1]
        # Deviations at the size of the numbers' own rounding are noise, which would be stretched to 1.
        noise = rounding * max(float(np.sqrt(variances[0].clip(0))), float(np.abs(mean).max()))
        least = max(noise**2, np.finfo(np.float64).eps * len(mean) * float(variances[0]))
        varying = int((variances > least).sum())
        kept = dimensions or varying
        if varying == 0:
            raise ValueError(f"the embeddings of these {len(values)} texts are all the same; give texts that differ")
        if kept > varying:
            raise ValueError(
                f"dimensions={dimensions}, but only {varying} vary among these {len(values)} texts; give more texts, "
                f"or dimensions up to {varying}"
            )
        # An eigenvector's sign is the solver's choice: the largest entry is positive, so that results are the same.
        directions = directions[:, :kept]
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(kept)])
        return cls(mean * unit, directions / np.sqrt(variances[:kept]) / unit)

    def transform(self, embeddings: Embeddings) -> np.ndarray:
        """Whiten embeddings.

        Args:
            embeddings: shape ``(texts, dimension)``.

        Returns:
            fp64, shape ``(texts, kept)``; compare them by their cosines.

        Raises:
            ValueError: embeddings are empty, of another dimension, or not finite.
        """
        points = as_points(embeddings, "embeddings", len(self.mean))
        return np.asarray((points.double().cpu().numpy() - self.mean) @ self.matrix)

    def module(self) -> Dense:
        """The same as a module of sentence-transformers, frozen, in fp32.

        Returns:
            A ``Dense`` without activation, so that a model that is saved with it loads wherever sentence-transformers
            is installed: nlpkit need not be there.

        Raises:
            ModuleNotFoundError: sentence-transformers is not installed.
            ValueError: some directions vary so little beside the mean that nothing of them is left in fp32.
        """
        from sentence_transformers.base.modules import Dense

        if (held := self._held_in_fp32()) < self.matrix.shape[1]:
            raise ValueError(
                f"of the {self.matrix.shape[1]} dimensions that are kept, fp32 holds {held} beside a mean as large as "
                "this: " + (f"fit the whitening with dimensions={held}" if held else "take the mean away before")
            )
        dimension, kept = self.matrix.shape
        dense = Dense(
            dimension,
            kept,
            activation_function=None,
            init_weight=torch.from_numpy(self.matrix.T.copy()).float(),
            init_bias=torch.from_numpy(-self.mean @ self.matrix).float(),
        )
        return dense.requires_grad_(False)

    def _held_in_fp32(self) -> int:
        """How many of the first dimensions come out right, to a hundredth of their deviation, of products in fp32."""
        rounding = np.finfo(np.float32).eps * (np.abs(self.mean) @ np.abs(self.matrix))
        wrong = np.flatnonzero(rounding > 0.01)
        return int(wrong[0]) if len(wrong) else len(rounding)


def whiten_encoder(
    model: SentenceTransformer, texts: Iterable[str], dimensions: int | None = None, *, batch_size: int = 64
) -> SentenceTransformer:
    """Put the whitening of texts behind an encoder.

    Args:
        model: stays as it is; the one that is returned shares its weights.
        texts: like those that will be compared, each once; several times as many as dimensions.
        dimensions: how many to keep; by default all that vary by enough for fp32.
        batch_size: of ``encode``.

    Returns:
        An encoder whose embeddings are white; ``save_pretrained`` saves all of it.

    Raises:
        TypeError: one text is given in place of a list, or what is none among them.
        ValueError: as of ``Whitening.fit`` and its ``module``; there are no texts.

    Example:
        >>> from nlpkit.tasks.similarity import sentence_encoder
        >>> encoder = sentence_encoder("wobert-mini-zh", device="cpu")
        >>> texts = ["酒店的服务很好", "今天天气不错", "手机屏幕碎了", "怎样学好英语", "苹果多少钱一斤"]
        >>> whiten_encoder(encoder, texts, dimensions=2).encode(texts).shape
        (5, 2)
    """
    from sentence_transformers import SentenceTransformer

    given = list_of_texts("texts", texts)
    if not given:
        raise ValueError("there are no texts to fit a whitening on")
    embeddings = model.encode(given, batch_size=batch_size, convert_to_numpy=True)
    whitening = Whitening.fit(embeddings, dimensions)
    if dimensions is None and (held := whitening._held_in_fp32()):
        whitening = Whitening(whitening.mean, whitening.matrix[:, :held])
    return SentenceTransformer(
        modules=[*model, whitening.module()],
        device=str(model.device),
        prompts={name: prompt for name, prompt in model.prompts.items() if prompt is not None},
        default_prompt_name=model.default_prompt_name,
        similarity_fn_name=model.similarity_fn_name,
    )
