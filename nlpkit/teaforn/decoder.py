"""The decoder of a model, run through inputs that are open to all: embeddings in place of token ids."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nlpkit.losses import CrossEntropyLoss, Loss
from nlpkit.teaforn.feeds import Vocabulary
from nlpkit.teaforn.levels import Level, Run
from nlpkit.training.task_loss.model_inputs import model_inputs
from nlpkit.training.task_loss.stock_losses import is_sequence_to_sequence, predicts_next_token, with_head


class Reading(NamedTuple):
    """What a decoder reads of a batch.

    Attributes:
        inputs: of the model, token ids of the decoder among them.
        name: under which these stand.
        replaced: which of them a model would have to write itself: those that are labels, but a first one; shape
            ``(batch, length)``.
    """

    inputs: dict[str, Any]
    name: str
    replaced: Tensor

    @property
    def ids(self) -> Tensor:
        """The tokens, shape ``(batch, length)``."""
        ids: Tensor = self.inputs[self.name]
        return ids

    def instead(self, ids: Tensor) -> dict[str, Any]:
        """The inputs with other tokens where they would have to be written, and the same ones elsewhere."""
        return self.inputs | {self.name: torch.where(self.replaced, ids, self.ids)}


class Runner(NamedTuple):
    """A decoder, bound to a batch.

    Attributes:
        run: for ``levels``; gives logits, too.
        embeddings: of the right tokens, shape ``(batch, length, width)``.
        labels: of what ``run`` gives at the same positions, shape ``(batch, length)``.
        replaced: for ``levels``.
        vocabulary: for ``levels``.
    """

    run: Run
    embeddings: Tensor
    labels: Tensor
    replaced: Tensor
    vocabulary: Vocabulary


class Seen:
    """What the parts of a model have given when they ran last."""

    hidden: Tensor | None = None
    encoded: Any = None


class Decoder:
    """The parts of a model that writes: an encoder-decoder, a decoder, or whatever predicts the next token.

    Args:
        model: with a head; PEFT's wrapper around one. Its ``forward`` must take ``inputs_embeds``, an
            encoder-decoder's ``decoder_inputs_embeds`` and ``encoder_outputs``.

    Raises:
        ValueError: something of this is missing, or the model sees masked text and writes nothing.
    """

    def __init__(self, model: Any) -> None:
        inner = with_head(model)
        self.model, self.name = model, type(inner).__name__
        self.has_encoder = bool(inner.config.is_encoder_decoder)
        self.embeds = "decoder_inputs_embeds" if self.has_encoder else "inputs_embeds"
        self.reads = "decoder_input_ids" if self.has_encoder else "input_ids"
        self.parameters = inspect.signature(type(inner).forward).parameters
        _refuse_no_writer(inner)
        for needed in (self.embeds, *(["encoder_outputs"] if self.has_encoder else [])):
            if needed not in self.parameters:
                raise ValueError(
                    f"{self.name} takes no {needed}=, through which its decoder is to read its own states"
                )
        if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
            raise ValueError(
                f"{self.name} has a learnt prompt before its tokens, so that positions are not those of the tokens: "
                "use LoRA, or another method that adds no tokens"
            )
        try:
            self.body = _body(inner)
            self.encoder = inner.get_encoder() if self.has_encoder else None
            embedding = self.body.get_input_embeddings()
        except (AttributeError, NotImplementedError) as error:  # however a class of transformers lacks them
            raise ValueError(f"{self.name} does not say what its decoder and its embeddings are ({error})") from error
        # Not called as a module: adversaries count and move what their hooks see of the embedding.
        self.vocabulary = Vocabulary(embedding.forward, embedding.weight.shape[0])
        self.attention = getattr(inner.config, "_attn_implementation", None)

    @contextmanager
    def watched(self) -> Iterator[Seen]:
        """Within, what the decoder and the encoder give is kept until they run again."""
        seen = Seen()

        def decoded(module: nn.Module, inputs: Any, output: Any) -> None:
            seen.hidden = output if isinstance(output, Tensor) else output[0]

        def encoded(module: nn.Module, inputs: Any, output: Any) -> None:
            seen.encoded = output

        handles = [self.body.register_forward_hook(decoded)]
        if self.encoder is not None:
            handles.append(self.encoder.register_forward_hook(encoded))
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def reading(self, batch: Mapping[str, Any], loss: Loss | None = None) -> Reading:
        """What the decoder reads of a batch.

        Args:
            batch: with labels, one for each token that is read or, in an encoder-decoder, that is written.
            loss: of the task, which knows what of a batch is no input.

        Returns:
            The inputs, and which tokens are labels.

        Raises:
            ValueError: the batch has no token ids, or labels of another shape; or a mask that would be added as it is.
        """
        inputs = model_inputs(self.model, batch, CrossEntropyLoss() if loss is None else loss)
        ids, labels = inputs.get(self.reads), batch.get("labels")
        if not isinstance(ids, Tensor) or not isinstance(labels, Tensor) or ids.shape != labels.shape:
            there = {n: tuple(v.shape) for n, v in {**batch, **inputs}.items() if isinstance(v, Tensor)}
            raise ValueError(
                f"{self.name} needs {self.reads} and labels of one shape, (batch, length), and the batch has {there}"
            )
        for name, mask in inputs.items():
            if isinstance(mask, Tensor) and mask.dim() == 4 and mask.dtype == torch.bool and self.attention == "eager":
                raise ValueError(
                    f"{name} is a bool mask of four dimensions, which eager attention adds as 0 and 1: give it in the "
                    "model's dtype, 0 where attention is allowed and torch.finfo(dtype).min elsewhere"
                )
        written = labels != -100
        if self.has_encoder:  # the token that is read is the label one position earlier
            written = torch.cat([torch.zeros_like(written[:, :1]), written[:, :-1]], dim=1)
        else:
            written = written & (torch.arange(written.shape[1], device=written.device) > 0)
        return Reading(inputs, self.reads, written)

    def aligned(self, labels: Tensor) -> Tensor:
        """Labels at the positions of the logits for them, shape ``(batch, length)``."""
        if self.has_encoder:
            return labels
        return torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], -100)], dim=1)

    def unaligned(self, there: Tensor) -> Tensor:
        """From positions of logits to those of the labels in a batch, shape ``(batch, length)``; the first: False."""
        return there if self.has_encoder else torch.cat([torch.zeros_like(there[:, :1]), there[:, :-1]], dim=1)

    def run(self, inputs: Mapping[str, Any], encoded: Any, embeddings: Tensor) -> tuple[Tensor, Any]:
        """One pass of the decoder, and of the head; the encoder does not run.

        Args:
            inputs: as of ``reading``.
            encoded: what the encoder has given.
            embeddings: in place of the token ids that the decoder reads, shape ``(batch, length, width)``.

        Returns:
            Last states, shape ``(batch, length, width)``, and what the model returns.
        """
        given = {name: value for name, value in inputs.items() if name != self.reads}
        given[self.embeds] = embeddings.clone()  # since CTRL makes what it is given larger in place
        if self.has_encoder:
            given |= {"encoder_outputs": encoded}
            given = {name: value for name, value in given.items() if name not in ("input_ids", "inputs_embeds")}
        if "use_cache" in self.parameters:
            given["use_cache"] = False
        with self.watched() as seen:
            outputs = self.model(**given)
        return self.states(seen), outputs

    def states(self, seen: Seen) -> Tensor:
        """The last states that ``watched`` has kept, or a ``ValueError`` where there are none."""
        if seen.hidden is None:
            raise ValueError(
                f"the decoder of {self.name} has not run where it can be seen: leave torch_compile=True out"
            )
        return seen.hidden


def decoder_runner(model: Any, batch: Mapping[str, Any], *, encoder_outputs: Any = None) -> Runner:
    """Bind the decoder of a model to a batch, for ``levels``.

    Args:
        model: an encoder-decoder (T5, mT5, BART, mBART), a decoder (Llama, GPT-2, Gemma 2, Qwen 3), or another one
            that predicts the next token, whatever its mask; see ``Decoder``.
        batch: its inputs, and labels, -100 for none. Of a decoder, tokens with a label are replaced from level 2 on;
            a prompt, which has none, stays as it is.
        encoder_outputs: of the encoder for this batch; ``None`` runs it, once for all levels.

    Returns:
        What ``levels`` and ``teaforn_loss`` take.

    Raises:
        ValueError: the model or the batch cannot be used so.

    Note:
        Level 1 is the model's own forward pass, bit for bit.

    Example:
        >>> from transformers import T5Config, T5ForConditionalGeneration
        >>> from nlpkit.teaforn import RmsMatched, levels, teaforn_loss
        >>> model = T5ForConditionalGeneration(T5Config(
        ...     vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0))
        >>> runner = decoder_runner(model, {"input_ids": torch.tensor([[5, 6]]), "labels": torch.tensor([[7, 8, 1]])})
        >>> found = levels(runner.run, runner.embeddings, 3, RmsMatched(), replaced=runner.replaced,
        ...                vocabulary=runner.vocabulary)
        >>> teaforn_loss(found, runner.labels, replaced=runner.replaced).shape
        torch.Size([])
    """
    decoder = Decoder(model)
    reading = decoder.reading(batch)
    if decoder.encoder is not None and encoder_outputs is None:
        named = inspect.signature(type(decoder.encoder).forward).parameters
        encoder_outputs = decoder.encoder(
            **{name: value for name, value in reading.inputs.items() if name in named and "decoder" not in name}
        )

    def run(embeddings: Tensor) -> Level:
        hidden, outputs = decoder.run(reading.inputs, encoder_outputs, embeddings)
        return Level(hidden, CrossEntropyLoss().logits_of(outputs))

    return Runner(
        run=run,
        embeddings=decoder.vocabulary.embed(reading.ids),
        labels=decoder.aligned(batch["labels"]),
        replaced=reading.replaced,
        vocabulary=decoder.vocabulary,
    )


def _body(inner: Any) -> Any:
    """The decoder without a head: that of a pair of models (``EncoderDecoderModel``) has one of its own."""
    found = inner.get_decoder()
    return found if found is not inner and found.get_output_embeddings() is None else found.base_model


def _refuse_no_writer(inner: Any) -> None:
    loss = inner.own_loss() if hasattr(inner, "own_loss") else None
    if not (is_sequence_to_sequence(inner) or predicts_next_token(inner) or getattr(loss, "shift", False)):
        raise ValueError(
            f"{type(inner).__name__} does not predict the next token of a text: give an encoder-decoder, such as "
            "T5ForConditionalGeneration, or a decoder, such as LlamaForCausalLM"
        )
