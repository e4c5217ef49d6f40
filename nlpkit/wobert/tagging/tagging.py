"""Tagging of characters with a model of words: each character is classified, and knows the word it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertPreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.utils import can_return_tuple

from nlpkit.batches import batches_by_length
from nlpkit.labels.alignment import close_gaps, expand_to_characters, place_in_token
from nlpkit.labels.bio_decoding import continue_inside, decode_bio
from nlpkit.labels.spans import Span, bio_to_spans
from nlpkit.losses.normalised import cross_entropy
from nlpkit.losses.standard import CrossEntropyLoss
from nlpkit.modes import evaluating
from nlpkit.wobert.configuration import WoBertConfig
from nlpkit.wobert.inputs import explained
from nlpkit.wobert.modeling import Items, WoBertMixin, WoBertModel
from nlpkit.wobert.tagging.collator import CharacterTaggingCollator, split_long_example

if TYPE_CHECKING:
    from nlpkit.wobert.tokenizing.tokenizer import WoBertTokenizer


#: The correction is multiplied by this, so that it keeps pace with an encoder's small rates; a correction that begins
#: at 0 had not found the entities inside words when short runs ended.
CORRECTION_SCALE = 4.0


class WoBertCharacterConfig(WoBertConfig):
    """Configuration of ``WoBertForCharacterClassification``; any WoBERT checkpoint loads with the defaults.

    Args:
        place_reach: distances of a character to both ends of its word are told apart up to ``place_reach - 1``.
        use_characters: add each character's own row of the word embeddings (words made of the same characters then
            share what they teach).

    Example:
        >>> WoBertCharacterConfig(vocab_size=9, use_characters=False).place_reach
        4
    """

    place_reach: int = 4
    use_characters: bool = True


class WoBertForCharacterClassification(WoBertMixin, BertPreTrainedModel):
    """The word encoder with a classification head on every character.

    Source: WoBERT (kexue.fm/archives/7758) loses 3 points of F1 in named-entity recognition: a word token that
    straddles the border of an entity cannot be labelled at all, and rare words teach little. Here words are labelled
    as in token classification, their characters share the label (``B-X`` goes on as ``I-X``), and a correction says
    where that is wrong. It reads the features ``norm(gelu(A h_w + P[place of c in w] + B e_c))`` of character ``c`` of
    word ``w``, where ``h_w`` is the word's last state and ``e_c`` the word embedding of ``c`` alone.

    Args:
        config: ``num_labels``, ``id2label`` and ``label2id`` set the classes.

    Note:
        The encoder runs over words, so its cost is that of the word model; the head adds two small matrices.
        Where tokens already are characters use ``WoBertForTokenClassification``.

    Example:
        >>> config = WoBertCharacterConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                                intermediate_size=8, num_labels=3)
        >>> model = WoBertForCharacterClassification(config)
        >>> model(input_ids=torch.tensor([[2, 7, 3]]), character_to_token=torch.tensor([[1, 1]]),
        ...       character_ids=torch.tensor([[5, 6]])).logits.shape
        torch.Size([1, 2, 3])
    """

    config_class = WoBertCharacterConfig
    config: WoBertCharacterConfig

    def __init__(self, config: WoBertCharacterConfig) -> None:
        super().__init__(config)
        self.num_labels: int = config.num_labels  # type: ignore[assignment]
        self.bert = WoBertModel(config, add_pooling_layer=False)
        size = config.hidden_size
        self.from_word = nn.Linear(size, size)
        self.from_place = nn.Embedding(config.place_reach**2, size)
        self.from_character = nn.Linear(size, size, bias=False) if config.use_characters else None
        self.norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.correction = nn.Linear(size, self.num_labels, bias=False)
        classifier_dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if classifier_dropout is None else classifier_dropout)
        self.classifier = nn.Linear(size, self.num_labels)
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        """Load a model, as all of WoBERT's are.

        Args:
            *args: as for ``PreTrainedModel.from_pretrained``.
            config: of it; any WoBERT's, as Auto classes give it.
            **kwargs: as for ``PreTrainedModel.from_pretrained``.

        Returns:
            The model, in evaluation mode.
        """
        if isinstance(config, WoBertConfig) and not isinstance(config, WoBertCharacterConfig):
            config = WoBertCharacterConfig.from_dict(config.to_dict())
        return super().from_pretrained(*args, config=config, **kwargs)

    @explained
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        character_to_token: Tensor | None = None,
        character_ids: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Items = None,
        text: None = None,
        spans: None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput:
        """Classify characters; ``CharacterTaggingCollator`` makes the arguments.

        Args:
            input_ids: token ids, shape ``(batch, tokens)``.
            attention_mask: 1 for tokens, 0 for padding, shape ``(batch, tokens)``.
            token_type_ids: and the next two: as for ``WoBertForMaskedLM``.
            position_ids: likewise.
            inputs_embeds: likewise.
            character_to_token: token of each character, -1 for none and for padding, shape ``(batch, characters)``.
            character_ids: the token id of each character by itself, shape ``(batch, characters)``; unused when
                ``config.use_characters`` is off.
            labels: class ids, -100 where there is none, shape ``(batch, characters)``.
            num_items_in_batch: labelled characters of the whole optimizer step; ``None`` means of this batch.
            text: not read here, as ``spans``: the Trainer keeps the columns that ``forward`` names, and
                ``CharacterTaggingCollator`` needs these two.
            spans: likewise.
            **kwargs: passed to the encoder (``output_hidden_states``, ...); ``return_dict=False`` returns a tuple.

        Returns:
            ``logits`` of shape ``(batch, characters, labels)``; meaningless where ``character_to_token`` is -1.

        Raises:
            ValueError: ``character_to_token`` is missing, or ``character_ids`` is and the model uses characters.
        """
        if character_to_token is None:
            raise ValueError(
                "character_to_token is missing: labels are of characters. CharacterTaggingCollator makes it from "
                "texts, and tag_texts predicts; pipeline reads models of tokens alone"
            )
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        words = self.dropout(encoded.last_hidden_state)  # (batch, tokens, hidden)
        place = place_in_token(character_to_token, self.config.place_reach)  # (batch, characters)
        states = expand_to_characters(self.from_word(words), character_to_token) + self.from_place(place)
        if self.from_character is not None:
            if character_ids is None:
                raise ValueError("character_ids is missing; give it, or set use_characters=False in the configuration")
            states = states + self.from_character(self.bert.embeddings.word_embeddings(character_ids))
        correction = self.correction(self.dropout(self.norm(F.gelu(states))))  # (batch, characters, labels)
        logits = self._word_scores(words, character_to_token) + CORRECTION_SCALE * correction
        loss = None if labels is None else cross_entropy(logits, labels, num_items_in_batch=num_items_in_batch)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=encoded.hidden_states, attentions=encoded.attentions
        )

    def own_loss(self) -> CrossEntropyLoss:
        """What ``TechniqueTrainer`` trains it on."""
        return CrossEntropyLoss()

    def _word_scores(self, words: Tensor, character_to_token: Tensor) -> Tensor:
        """Scores of each character by its word alone, ``(batch, characters, labels)``."""
        scores = self.classifier(words)  # (batch, tokens, labels)
        names = [self.config.id2label[number] for number in range(self.num_labels)]  # type: ignore[index]
        before = F.pad(character_to_token[:, :-1], (1, 0), value=-2)  # no token's number, nor that of none
        starts = (character_to_token != before)[:, :, None]
        inside = expand_to_characters(continue_inside(scores, names), character_to_token)
        return torch.where(starts, expand_to_characters(scores, character_to_token), inside)


def tag_texts(
    model: WoBertForCharacterClassification,
    tokenizer: WoBertTokenizer,
    texts: Sequence[str],
    *,
    batch_size: int = 32,
    show_progress: bool = False,
) -> list[list[Span]]:
    """Find the spans in texts with a trained model.

    Args:
        model: with BIO labels in ``config.id2label``; it is left in the mode (training or not) it was in.
        tokenizer: the one it was trained with.
        texts: of any length; those beyond the model's positions are cut between sentences and joined again.
        batch_size: texts a batch; they are batched by length.
        show_progress: draw a progress bar.

    Returns:
        The spans of each text, in order.

    Raises:
        TypeError: a text is not a string.
        ValueError: the model's labels are not BIO.
    """
    longest = model.config.max_position_embeddings
    pieces = [split_long_example({"text": text}, tokenizer, longest) for text in texts]
    flat = [piece["text"] for row in pieces for piece in row]
    with evaluating(model):
        labels = iter(_label_characters(model, tokenizer, flat, batch_size, show_progress))
    return [bio_to_spans([label for _ in row for label in next(labels)]) for row in pieces]


@torch.no_grad()
def _label_characters(
    model: WoBertForCharacterClassification,
    tokenizer: WoBertTokenizer,
    texts: list[str],
    batch_size: int,
    show_progress: bool,
) -> list[list[str]]:
    names = cast(dict[int, str], model.config.id2label)
    collator = CharacterTaggingCollator(tokenizer, {}, max_length=model.config.max_position_embeddings)
    labels: list[list[str]] = [[] for _ in texts]
    lengths = [len(text) for text in texts]
    for chosen in batches_by_length(lengths, batch_size, "tagging", show_progress=show_progress):
        batch = collator([{"text": texts[index]} for index in chosen]).to(model.device)
        tokens = batch["character_to_token"]
        best = decode_bio(model(**batch).logits, tokens >= 0, [names[number] for number in range(len(names))])
        for index, row, token in zip(chosen, best.tolist(), tokens.tolist(), strict=True):
            length = len(texts[index])
            labels[index] = close_gaps([names[label] for label in row[:length]], token[:length])
    return labels
