"""States of characters out of states of words."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from nlpkit.labels.alignment import expand_to_characters, place_in_token


class CharacterStates(nn.Module):
    """Each character's word, and what tells it apart there: ``norm(gelu(A h_w + P[place of c in w] + B e_c))``.

    Source: the correction of ``WoBertForCharacterClassification``.

    Args:
        hidden_size: numbers per state.
        embedding_size: numbers per row of the embeddings; 0 leaves the characters' own rows out.
        reach: distances to both ends of the word are told apart up to ``reach - 1``.
        eps: of the norm.

    Note:
        The encoder runs over words, so its cost is theirs.
    """

    def __init__(self, hidden_size: int, embedding_size: int, reach: int = 4, eps: float = 1e-12) -> None:
        super().__init__()
        self.reach = reach
        self.from_word = nn.Linear(hidden_size, hidden_size)
        self.from_place = nn.Embedding(reach**2, hidden_size)
        self.from_character = nn.Linear(embedding_size, hidden_size, bias=False) if embedding_size else None
        self.norm = nn.LayerNorm(hidden_size, eps=eps)

    def forward(self, words: Tensor, character_to_token: Tensor, embeddings: Tensor | None = None) -> Tensor:
        """What tells characters apart.

        Args:
            words: states of tokens, shape ``(batch, tokens, hidden)``.
            character_to_token: token of each character, -1 for none, shape ``(batch, characters)``.
            embeddings: the rows of the characters by themselves, shape ``(batch, characters, embedding)``.

        Returns:
            Shape ``(batch, characters, hidden)``.
        """
        place = place_in_token(character_to_token, self.reach)
        states = expand_to_characters(self.from_word(words), character_to_token) + self.from_place(place)
        if self.from_character is not None and embeddings is not None:
            states = states + self.from_character(embeddings)
        return self.norm(F.gelu(states))
