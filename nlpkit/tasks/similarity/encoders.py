"""A sentence-transformers model of any encoder: its states, pooled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nlpkit.extras import install_hint
from nlpkit.pretrained import refuse_empty_folder
from nlpkit.sources import find_file, find_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Pool = Literal["mean", "cls"]


def sentence_encoder(
    source: str | Path,
    pooling: Pool | Sequence[Pool] = "mean",
    *,
    max_length: int = 64,
    prompt: str | None = None,
    device: str | None = None,
) -> SentenceTransformer:
    """Make an encoder of sentences out of a pretrained encoder.

    Source: pooling ``"cls"`` is P1 and ``"mean"`` is P3 of kexue.fm/archives/8348.

    Args:
        source: a folder, the name of a shipped model, or a repository on the Hub. What sentence-transformers has saved
            keeps its own modules, and ``pooling`` does not apply.
        pooling: the mean of a text's last states, or that of its first token; several are put side by side.
        max_length: tokens; longer texts are cut.
        prompt: goes before every text in ``encode``, ``"query: "`` for E5 models.
        device: as for ``SentenceTransformer``.

    Returns:
        The model, in fp32 whatever the weights are kept in. A BERT's pooler, which no embedding comes from, is frozen;
        it stays, since sentence-transformers makes one where it resumes a training.

    Raises:
        ModuleNotFoundError: sentence-transformers is not installed.
        FileNotFoundError: as of ``nlpkit.sources.find_model``, or the folder holds no model.
        ValueError: states of a text depend on the padding behind it; or its first state is pooled, and sees nothing of
            what follows, as in causal models.

    Example:
        >>> model = sentence_encoder("wobert-mini-zh", device="cpu")
        >>> model.encode(["酒店的服务很好", "服务不错的酒店"]).shape
        (2, 384)
    """
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"sentence encoders need sentence-transformers; {install_hint('similarity')}", name=error.name
        ) from error
    from torch import float32, nn

    folder = find_model(source)
    prompts: dict[str, Any] = {} if prompt is None else {"prompts": {"text": prompt}, "default_prompt_name": "text"}
    weights = {"dtype": float32}
    if find_file(source, "modules.json") is not None:
        model = SentenceTransformer(folder, device=device, model_kwargs=weights, **prompts)
        model.max_seq_length = max_length
    else:
        refuse_empty_folder(folder)
        words = Transformer(folder, max_seq_length=max_length, model_kwargs=weights)
        pool = Pooling(words.get_embedding_dimension(), pooling if isinstance(pooling, str) else tuple(pooling))
        model = SentenceTransformer(modules=[words, pool], device=device, **prompts)
    if isinstance(states := getattr(model[0], "model", None), nn.Module):
        _refuse_unfit_states(states, model)
        if isinstance(pooler := getattr(states, "pooler", None), nn.Module):
            pooler.requires_grad_(False)  # nothing reads it, and several processes wait for every gradient
    return model


def _refuse_unfit_states(states: Any, model: SentenceTransformer) -> None:
    """Refuse states that depend on a batch's other texts, or of which the first is pooled and says nothing."""
    from nlpkit.pet.head_check import refuse_padding_in_states, sees_what_follows

    refuse_padding_in_states(states, model.tokenizer)
    first = any("cls" in getattr(module, "pooling_mode", ()) for module in model)
    if first and not sees_what_follows(states, model.tokenizer):
        raise ValueError(
            f"the first state of {type(states).__name__} sees nothing of what follows, as in causal models, so that "
            "'cls' would say nothing of a text; take 'mean'"
        )
