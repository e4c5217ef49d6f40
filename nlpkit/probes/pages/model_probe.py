"""Everything that is probed of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from nlpkit.probes.embeddings.collapse import CollapseReport, collapse_report
from nlpkit.probes.embeddings.dimension import recommend_embedding_dim
from nlpkit.probes.positions.constant_texts import vocabulary_size
from nlpkit.probes.positions.identifiability import PositionReport, position_identifiability
from nlpkit.probes.room import room_for_tokens
from nlpkit.probes.training_mode.dropouts import DropoutReport, dropout_report
from nlpkit.probes.training_mode.normalisations import NormalisationUse, normalisation_report
from nlpkit.token_table import token_rows

#: Rows of the embeddings that are looked at; memory grows with their square.
_ROWS = 2000


@dataclass(frozen=True)
class ModelProbe:
    """What a model can do, and what it does in training.

    Attributes:
        model: name of its class.
        parameters: how many.
        room: tokens of the longest text; ``None`` where nothing limits it.
        vocabulary: rows of its embeddings.
        dim: their width.
        recommended_dim: ``recommend_embedding_dim`` of the vocabulary.
        positions: whether it counts.
        dropout: that it draws.
        normalisations: that it applies.
        embeddings: whether its rows have collapsed.
    """

    model: str
    parameters: int
    room: int | None
    vocabulary: int
    dim: int
    recommended_dim: int
    positions: PositionReport
    dropout: DropoutReport
    normalisations: tuple[NormalisationUse, ...]
    embeddings: CollapseReport


def probe_model(
    model: PreTrainedModel,
    *,
    batch: Mapping[str, Tensor] | None = None,
    length: int = 16,
    texts: int = 256,
    show_progress: bool = True,
) -> ModelProbe:
    """Probe a model: positions, dropout, normalisations and embeddings.

    Args:
        model: of texts, of any kind; it is left as it was.
        batch: what dropout and normalisations are looked at on; by default eight texts of random tokens, from which
            dropout changes states more than from texts that the model knows the like of.
        length: of the texts that positions are looked for in.
        texts: how many of these.
        show_progress: draw a progress bar.

    Returns:
        The findings; of the embeddings up to 2,000 rows are looked at, spread over the vocabulary.

    Raises:
        ValueError: as ``position_identifiability``, or the model cannot be run on ids alone.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> found = probe_model(BertModel(BertConfig(vocab_size=99, hidden_size=8, num_hidden_layers=1,
        ...                                          num_attention_heads=2, intermediate_size=8)), texts=16)
        >>> found.parameters, found.room, found.recommended_dim, found.dropout.silent
        (5456, 512, 39, False)
    """
    positions = position_identifiability(model, length=length, texts=texts, show_progress=show_progress)
    batch = random_batch(model, rows=8, length=length) if batch is None else batch
    rows = token_rows(model)
    shown = rows[:: -(-len(rows) // _ROWS)].detach().float()
    return ModelProbe(
        model=type(model).__name__,
        parameters=model.num_parameters(),
        room=room_for_tokens(model),
        vocabulary=len(rows),
        dim=rows.shape[1],
        recommended_dim=recommend_embedding_dim(len(rows)),
        positions=positions,
        dropout=dropout_report(model, batch),
        normalisations=normalisation_report(model, batch),
        embeddings=collapse_report(shown),
    )


def random_batch(model: PreTrainedModel, *, rows: int, length: int) -> dict[str, Tensor]:
    """Ids drawn from a model's vocabulary with a fixed seed; for both stacks where it has two.

    Args:
        model: that reads them.
        rows: texts.
        length: tokens of each.
    """
    vocabulary = vocabulary_size(model)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary // 10, vocabulary, (rows, length), generator=generator).to(model.device)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {**batch, "decoder_input_ids": ids} if model.config.is_encoder_decoder else batch
