"""Tuning from a tap: lower layers frozen, with their output kept on disk, and all above them trained whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from nlpkit.checked_number import checked_number
from nlpkit.ladder_side_tuning.assembly import build_ladder
from nlpkit.ladder_side_tuning.blocks.block_family import BlockFamily
from nlpkit.ladder_side_tuning.blocks.families import FAMILIES
from nlpkit.ladder_side_tuning.configuration import LadderConfig
from nlpkit.ladder_side_tuning.modeling import LadderModel
from nlpkit.ladder_side_tuning.taps.cache import TapCache


def tune_from(
    model: PreTrainedModel,
    layer: int,
    cache: TapCache | str | Path | None = None,
    *,
    families: Sequence[BlockFamily] | None = None,
) -> LadderModel:
    """Freeze the layers below one, and train it and everything above it whole.

    The last frozen states, one tap for each text, are kept on disk by ``cache_taps``, as a ladder's are, so that from
    then on the lower layers do not run. Frozen layers are in evaluation mode, so dropout inside them and on the
    embeddings is off, with the cache and without.

    Args:
        model: any model whose blocks are of a known family. It stays as it is and is shared where it is frozen; what
            is trained is a copy. With an encoder and a decoder the layer is one of the encoder, and the decoder is
            trained whole.
        layer: the first one that is trained, from 1 to the last. Weights that the layers below read are frozen
            wherever else they are used, such as embeddings to which a language-model head is tied.
        cache: taps to read in place of running the frozen layers, or their folder; also those that a ladder on the
            same backbone kept, if it tapped the layer below.
        families: kinds of block, as for ``get_ladder_model``.

    Returns:
        A model of the same class. ``save_pretrained`` writes the whole model, which loads anywhere;
        ``save_pretrained(folder, whole=False)`` what was trained, which loads as a ladder does.

    Raises:
        TypeError: not a ``PreTrainedModel``, or the layer is no whole number.
        ValueError: unknown blocks, no such layer, or the cache is another backbone's or lacks the layer.

    Note:
        ``get_ladder_model`` with ``LadderConfig(whole_from=layer)`` adds a ladder beside the frozen layers, whose taps
        are all kept.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> model = BertForSequenceClassification(BertConfig(
        ...     vocab_size=9, hidden_size=8, num_hidden_layers=4, num_attention_heads=2, intermediate_size=8))
        >>> tuned = tune_from(model, 3)
        >>> tuned.tapped_layers(), tuned.saved_modules
        ({'bert.encoder': [2]}, ['bert.encoder.layer.3', 'bert.pooler', 'classifier'])
    """
    checked_number("layer", layer, least=1, whole=True, hint="the first layer that is trained")
    config = LadderConfig(layers=[], whole_from=layer, init="random")
    tuned = build_ladder(LadderModel, model, config, FAMILIES if families is None else families)
    if cache is not None:
        tuned.use_tap_cache(cache if isinstance(cache, TapCache) else TapCache(cache))
    return tuned
