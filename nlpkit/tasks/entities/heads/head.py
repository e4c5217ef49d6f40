"""The head as a whole: what it makes of an encoder's states, by tokens or by characters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nlpkit.labels.alignment import expand_to_characters
from nlpkit.labels.bio_decoding import continue_inside
from nlpkit.tasks.entities.heads.bio_heads import ChainHead, bio_names
from nlpkit.tasks.entities.heads.character_states import CharacterStates
from nlpkit.tasks.entities.heads.crf import Chain
from nlpkit.tasks.entities.heads.span_scores import EfficientGlobalPointer, GlobalPointer, SpanScores

#: As of ``WoBertForCharacterClassification``.
CORRECTION_SCALE = 4.0


class TokenHead(nn.Module):
    """Scores of spans of tokens, or of their labels.

    Args:
        kind: ``"global_pointer"``, ``"efficient_global_pointer"``, ``"crf"`` or ``"softmax"``.
        hidden_size: numbers per state.
        types: of entities.
        head_size: numbers per query and key.
        dropout: share of the states that is dropped.
    """

    def __init__(self, kind: str, hidden_size: int, types: list[str], head_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.names = bio_names(types)
        self.scores_spans = kind in ("global_pointer", "efficient_global_pointer")
        if self.scores_spans:
            pointer = GlobalPointer if kind == "global_pointer" else EfficientGlobalPointer
            self.pointer = pointer(hidden_size, len(types), head_size)
        else:
            self.classifier = nn.Linear(hidden_size, len(self.names))
            self.moves = ChainHead(len(types), learnt=kind == "crf")

    def forward(self, words: Tensor, units: Tensor) -> SpanScores | Chain:
        """Score a batch.

        Args:
            words: states of tokens, shape ``(batch, tokens, hidden)``.
            units: which tokens count, shape ``(batch, tokens)``, boolean.

        Returns:
            Scores of spans, or of labels and moves.
        """
        words = self.dropout(words)
        scored: SpanScores | Chain = (
            self.pointer(words, units) if self.scores_spans else self.moves(self.classifier(words))
        )
        return scored


class CharacterHead(TokenHead):
    """The same of characters, each of which knows the token it stands in.

    Labels are scored as in ``WoBertForCharacterClassification``: by the word, ``B-X`` going on as ``I-X``, plus a
    correction by character. Spans are scored by the sum of the word's state and what tells its characters apart.

    Args:
        kind: and the next four: as for ``TokenHead``.
        hidden_size: likewise.
        types: likewise.
        head_size: likewise.
        dropout: likewise.
        embedding_size: as for ``CharacterStates``, like the next two.
        reach: likewise.
        eps: likewise.
    """

    def __init__(
        self,
        kind: str,
        hidden_size: int,
        types: list[str],
        head_size: int,
        dropout: float,
        embedding_size: int,
        reach: int,
        eps: float,
    ) -> None:
        super().__init__(kind, hidden_size, types, head_size, dropout)
        self.characters = CharacterStates(hidden_size, embedding_size, reach, eps)
        if not self.scores_spans:
            self.correction = nn.Linear(hidden_size, len(self.names), bias=False)

    def forward(  # type: ignore[override]
        self, words: Tensor, character_to_token: Tensor, embeddings: Tensor | None
    ) -> SpanScores | Chain:
        """Score a batch.

        Args:
            words: states of tokens, shape ``(batch, tokens, hidden)``.
            character_to_token: token of each character, -1 for none, shape ``(batch, characters)``.
            embeddings: the rows of the characters by themselves, shape ``(batch, characters, embedding)``.

        Returns:
            Scores of spans, or of labels and moves.
        """
        words = self.dropout(words)
        told_apart = self.characters(words, character_to_token, embeddings)  # (batch, characters, hidden)
        scored: SpanScores | Chain
        if self.scores_spans:
            states = expand_to_characters(words, character_to_token) + told_apart
            scored = self.pointer(states, character_to_token >= 0)
        else:
            emissions = self._of_words(self.classifier(words), character_to_token)
            scored = self.moves(emissions + CORRECTION_SCALE * self.correction(self.dropout(told_apart)))
        return scored

    def _of_words(self, emissions: Tensor, character_to_token: Tensor) -> Tensor:
        """Scores of each character by its word alone."""
        before = F.pad(character_to_token[:, :-1], (1, 0), value=-2)  # no token's number, nor that of none
        starts = (character_to_token != before)[:, :, None]
        inside = expand_to_characters(continue_inside(emissions, self.names), character_to_token)
        return torch.where(starts, expand_to_characters(emissions, character_to_token), inside)
