"""An index that is searched by scores which make up for hubs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nlpkit.embeddings import Embeddings, as_points
from nlpkit.tasks.similarity.retrieval.neighbours import (
    Engine,
    Neighbours,
    check_k,
    exact_search,
    ranked,
    score_blocks,
)
from nlpkit.tasks.similarity.retrieval.points import (
    Metric,
    moved_to,
    pair_similarities,
    prepared,
)
from nlpkit.tasks.similarity.retrieval.rerankers import Reranker

Statistics = tuple[Tensor, ...]


class Retriever:
    """Searches an index, with any of the corrections for hubs or none.

    Args:
        index: embeddings to find, shape ``(points, dimension)``.
        reranker: such as ``CSLS()``; ``None`` searches by the metric alone.
        references: embeddings of the kind that will be asked for, by which it is known which points are hubs, shape
            ``(references, dimension)``; by default the index stands for them, no point compared with itself.
        metric: see ``Metric``.
        engine: ``exact_search`` by default; another is used for what is a search by the metric alone, which are those
            without reranker and the statistics of ``CSLS`` and ``LocalScaling``.

    Raises:
        TypeError: ``reranker`` is something else, such as a name.
        ValueError: embeddings are empty, of another dimension, or not finite.

    Note:
        Memory is that of the embeddings, a few numbers per point, and a few blocks of scores; time that of one pass
        over the scores of references and index to begin with, and one or two of those of queries and index in each
        search.

    Example:
        >>> from nlpkit.tasks.similarity import CSLS
        >>> index = torch.tensor([[1.0, 0.1], [0.9, 0.5], [0.1, 1.0], [0.5, 0.9]])
        >>> Retriever(index, CSLS(k=2)).search(torch.tensor([[1.0, 0.3]]), k=2).places
        tensor([[0, 1]])
        >>> Retriever(index).search(k=1).places.flatten()  # of each point, without itself
        tensor([1, 0, 3, 2])
    """

    def __init__(
        self,
        index: Embeddings,
        reranker: Reranker | None = None,
        *,
        references: Embeddings | None = None,
        metric: Metric = "cosine",
        engine: Engine | None = None,
    ) -> None:
        if not isinstance(reranker, Reranker | None):
            raise TypeError(f"reranker={reranker!r} must be a Reranker, such as CSLS(), or None")
        self._given = as_points(index, "index")
        self.reranker, self.metric, self._engine = reranker, metric, engine or exact_search
        (self._index,) = prepared(metric, self._given)
        self._same = references is None
        self._of_points: Statistics = ()
        if reranker is not None:
            others = self._index if references is None else self._placed(references, "references")
            self._of_points = reranker.statistics(self._index, others, metric, self._engine, same=self._same)

    def search(self, queries: Embeddings | None = None, k: int = 10) -> Neighbours:
        """The nearest points of each query.

        Args:
            queries: shape ``(queries, dimension)``; ``None`` asks for those of each point of the
                index, without itself.
            k: how many.

        Returns:
            Scores and places.

        Raises:
            ValueError: ``k`` is below 1 or above what there is; queries are empty, of another dimension, or not
                finite.
        """
        same = queries is None
        asking = self._index if queries is None else self._placed(queries, "queries")
        check_k(k, len(self._index) - same)
        if self.reranker is None:
            return self._engine(asking, self._index, k, self.metric, same=same)
        reranker, of_queries = self.reranker, self._of_queries(asking, same)

        def rescore(scores: Tensor, rows: slice, columns: slice) -> Tensor:
            return reranker.rescore(
                scores,
                tuple(one[rows, None] for one in of_queries),
                tuple(one[None, columns] for one in self._of_points),
                self.metric,
            )

        return ranked(score_blocks(asking, self._index, self.metric, same=same), k, rescore)

    def score_pairs(self, places: np.ndarray | Tensor) -> Tensor:
        """Scores of pairs of the index's points.

        Args:
            places: two points each, shape ``(pairs, 2)``.

        Returns:
            Shape ``(pairs,)``.

        Raises:
            TypeError: places are no whole numbers.
            ValueError: another shape.
            IndexError: a place is not in the index.
        """
        pairs = torch.as_tensor(places)
        if pairs.numel() and (pairs.is_floating_point() or pairs.is_complex() or pairs.dtype == torch.bool):
            raise TypeError(f"places are {pairs.dtype}; give the whole numbers of two points for each pair")
        pairs = pairs.long()
        if pairs.dim() != 2 or pairs.shape[1] != 2:
            raise ValueError(f"places of shape {tuple(pairs.shape)}: give two points for each pair, (pairs, 2)")
        if len(pairs) and not (pairs.min() >= 0 and pairs.max() < len(self._index)):
            raise IndexError(
                f"places go from {int(pairs.min())} to {int(pairs.max())}; the index has {len(self._index)} points"
            )
        first, second = pairs.to(self._index.device).unbind(dim=1)
        scores = pair_similarities(self._index[first], self._index[second], self.metric)
        if self.reranker is None:
            return scores
        of_queries = tuple(one[first] for one in self._of_queries(self._index, same=True))
        return self.reranker.rescore(scores, of_queries, tuple(one[second] for one in self._of_points), self.metric)

    def _placed(self, embeddings: Embeddings, name: str) -> Tensor:
        points = moved_to(as_points(embeddings, name, self._given.shape[1]), self._given, name)
        return prepared(self.metric, self._given, points)[1]

    def _of_queries(self, asking: Tensor, same: bool) -> Statistics:
        if self.reranker is None or not self.reranker.of_queries:
            return ()
        if same and self._same:
            return self._of_points
        return self.reranker.statistics(asking, self._index, self.metric, self._engine, same=same)
