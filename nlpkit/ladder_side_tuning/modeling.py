"""A model of transformers with a ladder beside its frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, Self, overload

from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from nlpkit.files import SAVED_MODEL, whole_folder
from nlpkit.ladder_side_tuning.assembly import build_ladder, unpickle_ladder
from nlpkit.ladder_side_tuning.blocks.block_family import BlockFamily
from nlpkit.ladder_side_tuning.blocks.dense_weights import count_parameters, is_quantised
from nlpkit.ladder_side_tuning.blocks.families import FAMILIES
from nlpkit.ladder_side_tuning.ladder import Ladder, Taps
from nlpkit.ladder_side_tuning.plain import plain_model, plain_state
from nlpkit.ladder_side_tuning.saved.loading import SavedLadder, read_ladder
from nlpkit.ladder_side_tuning.saved.saving import save_ladder
from nlpkit.ladder_side_tuning.taps.cache import TapCache
from nlpkit.ladder_side_tuning.taps.caching import Row, fill_cache
from nlpkit.ladder_side_tuning.taps.keys import LEFT_BY_A_PASS, as_read, why_not_keyed


class LadderModel(Ladder):
    """A frozen model with a trainable ladder beside it; ``get_ladder_model`` makes one, ``from_pretrained`` loads one.

    It is also of the class of the model that it was made from, with the same heads, inputs and outputs. Its
    ``forward`` takes ``taps`` besides, in place of running the backbone.

    Attributes:
        tap_cache: where ``forward`` finds taps, if anywhere; see ``use_tap_cache``.
    """

    tap_cache: TapCache | None = None

    @staticmethod
    def answer_together(ladders: Mapping[str, LadderModel], **batch: Any) -> dict[str, Any]:
        """Let several ladders on one backbone answer a batch, running the backbone once.

        Args:
            ladders: made from the same model, by name.
            **batch: inputs that all of them take.

        Returns:
            The output of each.

        Raises:
            ValueError: none are given, or they stand beside different backbones.

        Example:
            >>> import torch
            >>> from transformers import BertConfig, BertModel
            >>> from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
            >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
            ...                              intermediate_size=8))
            >>> ladders = {str(r): get_ladder_model(model, LadderConfig(reduction=r)) for r in (2, 4)}
            >>> sorted(LadderModel.answer_together(ladders, input_ids=torch.tensor([[1, 2]])))
            ['2', '4']
        """
        if not ladders:
            raise ValueError("give at least one ladder")
        first_name, first = next(iter(ladders.items()))
        for name, ladder in ladders.items():
            if ladder.memory_of_blocks() != first.memory_of_blocks():
                raise ValueError(f"ladders {first_name!r} and {name!r} do not share a backbone; build both on one")
        wanted = {
            stack.name: set(chain.from_iterable(ladder.tapped_layers()[stack.name] for ladder in ladders.values()))
            for stack in first.stacks
        }
        taps = first.tap(layers=wanted, **batch)
        return {name: ladder(**batch, taps=taps) for name, ladder in ladders.items()}

    def cache_taps(
        self,
        rows: Sequence[Row],
        folder: str | Path,
        collate: Callable[[list[Any]], Mapping[str, Any]],
        *,
        dtype: str = "bfloat16",
        batch_size: int = 64,
        shard_bytes: int = 1 << 28,
        show_progress: bool = True,
        over_processes: bool = False,
    ) -> TapCache:
        """Run the backbone once over a set of rows and keep the taps on disk.

        Args:
            rows: tokenized examples with ``input_ids``, and for encoder-decoder models ``labels``.
            folder: made if it does not exist. If it holds a part of this very cache, the rest is added to it.
            collate: makes a batch of rows, as the Trainer's ``data_collator`` does, of inputs of the model and labels.
                It must not draw anything at random and, beside a head for questions, must pad all to one length.
            dtype: ``"float32"``, ``"bfloat16"``, ``"int8"`` or, for a backbone in fp64, ``"float64"``.
            batch_size: rows per batch; rows of similar length come together.
            shard_bytes: size of a file. An interruption loses at most this.
            show_progress: draw a progress bar.
            over_processes: each process keeps its share of the rows, if all call this with one folder that all see.

        Returns:
            The cache, ready for ``use_tap_cache``.

        Raises:
            ValueError: no rows, an unknown dtype, a damaged file, or the cache there is of another backbone, of other
                layers or dtype; or a batch has an input, such as ``position_ids``, that taps are not found by.
            BlockingIOError: another process is writing to the folder.
            OSError: the disk is too small, or fills up all the same; what was written is used by the next call.

        Note:
            One forward pass without gradients, in the precision of ``torch.autocast`` where that is on.
        """
        return fill_cache(self, rows, folder, collate, dtype, batch_size, shard_bytes, show_progress, over_processes)

    def use_tap_cache(self, cache: TapCache | str | Path | None) -> None:
        """Read taps from a cache instead of running the backbone, wherever a batch is in it.

        In training a batch that is not in the cache is an error; in evaluation the backbone runs for it, and also
        where hidden states, attentions or a key-value cache are asked for.

        Args:
            cache: of ``cache_taps`` of this or another ladder, or its folder; ``None`` runs the backbone again.

        Raises:
            FileNotFoundError: there is no cache in the folder.
            ValueError: the cache is another backbone's, or lacks layers.

        Note:
            The backbone is compared here and not again, since that takes two seconds per billion parameters: after
            weights or settings of it have been changed, call this again, which then refuses the cache. In training
            hidden states but the last, and attentions, are not the backbone's, which does not run.
        """
        opened = TapCache(cache) if isinstance(cache, str | Path) else cache
        if opened is not None:
            opened.check(self)
        self.tap_cache = opened

    def find_taps(self, inputs: Mapping[str, Any]) -> Taps | None:
        """The taps of a batch, if there is a cache and they are in it.

        Args:
            inputs: the model's inputs by name.

        Returns:
            The taps, or ``None`` to run the backbone.

        Raises:
            ValueError: there is a cache, the model is being trained, and the batch is not in the cache.
        """
        if self.tap_cache is None:
            return None
        if not self.training and any(inputs.get(name) for name in LEFT_BY_A_PASS):
            return None
        taps = self.tap_cache.look_up(self, inputs)
        if taps is None and self.training:
            raise ValueError(
                why_not_keyed(as_read(self, len(self.stacks), inputs))
                or f"a batch is not in the tap cache {self.tap_cache.folder}, which holds {len(self.tap_cache)} rows; "
                "cache all training rows with the same collator, which must not mask or shuffle tokens at random"
            )
        return taps

    # Sharding and variants mean nothing here: the arguments after push_to_hub are those of push_to_hub.
    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        push_to_hub: bool = False,
        *,
        whole: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the ladder without the backbone, or a model that was tuned from a layer as a whole.

        Args:
            save_directory: folder, made if it does not exist. The ladder is ``adapter_config.json``,
                ``adapter_model.safetensors`` and a model card; a whole model takes the place of what was there.
            is_main_process: whether this process writes the folder.
            state_dict: weights to save in place of the model's own.
            push_to_hub: upload the folder, too, to the repository ``repo_id`` or one of the folder's name.
            whole: write the plain model with its configuration, which loads without nlpkit. By default so where there
                is no side network (``tune_from``); with one, with quantised layers or sharded by FSDP it cannot be.
            **kwargs: for ``push_to_hub``: ``repo_id``, ``token``, ``private``, ``revision``, ``commit_message``; for a
                whole model also those of transformers, such as ``max_shard_size``, which make no difference otherwise.

        Raises:
            FileExistsError: ``save_directory`` holds a whole model, such as the backbone; a ladder is refused there.
            NotADirectoryError: ``save_directory`` is a file.
            ValueError: ``state_dict`` lacks weights of the ladder, or ``whole`` is asked for beside a side network.
        """
        if not is_main_process:
            return
        in_parts = isinstance(self, FSDPModule) or any(is_quantised(module) for module in self.modules())
        if not self.has_side_network() and not in_parts if whole is None else whole:
            plain = plain_model(self)
            state = None if state_dict is None else plain_state(self, state_dict)
            named = {"repo_id": Path(save_directory).name} if push_to_hub else {}  # the draft has another name
            with whole_folder(Path(save_directory), replacing=SAVED_MODEL) as draft:
                plain.save_pretrained(draft, state_dict=state, push_to_hub=push_to_hub, **named | kwargs)
            return
        save_ladder(self, save_directory, state_dict)
        if push_to_hub:
            known = ("token", "private", "revision", "commit_message", "commit_description", "create_pr", "tags")
            self.push_to_hub(
                kwargs.get("repo_id", Path(save_directory).name),
                **{name: kwargs[name] for name in known if name in kwargs},
            )

    def print_trainable_parameters(self) -> None:
        """Print how many parameters are trained, and of how many, in PEFT's words."""
        trained, total = self.num_ladder_parameters(), count_parameters(self)
        print(f"trainable params: {trained:,d} || all params: {total:,d} || trainable%: {100 * trained / total:.4f}")

    # The backbone comes first, as in PEFT.
    @overload  # type: ignore[override]
    @classmethod
    def from_pretrained(
        cls, backbone: str | Path, *, families: Sequence[BlockFamily] = ..., **hub: Any
    ) -> LadderModel: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        backbone: PreTrainedModel | None,
        folder: str | Path,
        *,
        families: Sequence[BlockFamily] = ...,
        **hub: Any,
    ) -> LadderModel: ...

    @classmethod
    def from_pretrained(
        cls,
        backbone: PreTrainedModel | str | Path | None,
        folder: str | Path | None = None,
        *,
        families: Sequence[BlockFamily] = FAMILIES,
        **hub: Any,
    ) -> LadderModel:
        """Load a ladder and stand it beside its backbone: ``from_pretrained(backbone, folder)``, as in PEFT.

        Args:
            backbone: the plain model, with a head of the same kind; its parameters are frozen in place and shared.
                ``None``, or leaving it out, loads the one that the ladder was trained beside, from where it was then.
            folder: what ``save_pretrained`` or the Trainer wrote, or a repository on the Hub.
            families: kinds of block, as ``get_ladder_model`` was given.
            **hub: for a repository: ``revision``, ``subfolder``, ``cache_dir``, ``token``, ``local_files_only``.

        Returns:
            The ladder, in evaluation mode.

        Raises:
            FileNotFoundError: there is no such folder or repository, or no ladder in it.
            TypeError: the backbone is not a model of transformers, or ``hub`` has an unknown argument.
            ValueError: the files are damaged or hold something else, or the backbone is another one.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> from transformers import BertConfig, BertModel
            >>> from nlpkit.ladder_side_tuning import LadderConfig, get_ladder_model
            >>> model = BertModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
            ...                              intermediate_size=8))
            >>> with TemporaryDirectory() as folder:
            ...     get_ladder_model(model, LadderConfig(reduction=2)).save_pretrained(folder)
            ...     LadderModel.from_pretrained(model, folder).tapped_layers()
            {'encoder': [0, 1]}
        """
        if folder is None and isinstance(backbone, str | Path):
            backbone, folder = None, backbone
        if folder is None:
            raise TypeError("say where the ladder is: LadderModel.from_pretrained(backbone, folder)")
        if isinstance(backbone, str | Path):
            raise TypeError("the backbone is a model; load it first, or leave it out to load the ladder's own")
        saved = read_ladder(folder, **hub)
        return cls.beside(saved.load_backbone(**hub) if backbone is None else backbone, saved, families)

    @classmethod
    def beside(
        cls, backbone: PreTrainedModel, saved: SavedLadder, families: Sequence[BlockFamily] = FAMILIES
    ) -> LadderModel:
        """Stand a ladder that was read beside its backbone; see ``from_pretrained``."""
        saved.check_modules(backbone)
        trainable = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
        ladder = build_ladder(LadderModel, backbone, saved.config, families)
        try:
            saved.fill(ladder)
        except ValueError:
            for parameter in trainable:  # a refused model stays as it was
                parameter.requires_grad_(True)
            raise
        return ladder.eval()

    def __reduce__(self) -> tuple[Callable[[type[Self], Any], Self], tuple[type, type], dict[str, Any]]:
        # The class is made at run time, so pickle and deepcopy must make it again.
        return unpickle_ladder, (LadderModel, type(self).__bases__[1]), self.__dict__
