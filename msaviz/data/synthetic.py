"""What should a model find, and does it? Text, audio and vision with a planted truth.

The story of one utterance i of domain d (all draws independent, deterministic by `seed`):

* shared factor s ~ N(0, 1); private factors p_m ~ N(0, 1) of 2 dimensions for each modality m, independent of s.
* label: sentiment = clip(3 tanh(.7 z) + N(0, .2), -3, 3) with z = sqrt(1 - a) s + sqrt(a) q, where q is the mean over modalities of
  p_m[0], scaled to variance 1, and a = `private_label` (0: the private factors say nothing about the label).
* emotion: neutral if |z| < .4, happy if z > .4, else angry if the audio's p[0] > 0 and sad if not; 5% are drawn at random.
* each modality reads the shared factor through noise: r_m = s + N(0, noise * NOISE[m]): text best, vision worst, so that all three
  together know more than any of them.
* at a random third of its steps (`evidence`, at least 1) modality m shows 2 r_m u + 1.5 v: a direction u of its own for the reading, and a
  marker v that says "here is something". With `domain_specific` = a, u = sqrt(1 - a) u_m + sqrt(a) u_{m,d}: each domain speaks its own way.
* at every step it shows .8 p_m[k] w_k (its private directions), the spurious cue .8 c x (last modality only), and N(0, 1) noise.
* c = strength_d (label / 3) + N(0, .3). strength_d is `spurious`, with the sign flipped in the last of D domains: right in all but one.
  With `spurious_spread` = b it is `spurious` (1 - b d / max(1, D - 2)) for d < D - 1: a learner of invariances needs sources that disagree.
* style: the step is multiplied by exp(.3 shift g_{m,d}) and moved by shift h_{m,d}, channel by channel.
* all directions u, u_d, v, w, x of a modality are orthonormal (as far as its width allows).
* transcript: at the evidence steps of text a sentiment word for the level of r_text (awful, bad, okay, good, great), elsewhere filler
  and a word of the domain. With `text="ids"` the modality "text" is these words' ids instead of vectors.
* `missing`: each modality of a row is absent with this probability; one, drawn at random, always stays.

`dataset.truth` (a `Truth`) holds all of it, and the ideal predictor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from msaviz.data.assemble import Part, assemble
from msaviz.data.dataset import TOKEN_SEPARATOR, Dataset
from msaviz.data.domains import join_ragged
from msaviz.data.ragged import Ragged, offsets_of
from msaviz.options import Options
from msaviz.types import Task

VERSION = 1
"""Part of the fingerprint: raise it when the story changes."""
NOISE = {"text": 0.7, "audio": 1.0, "vision": 1.3}
WIDTH = {"text": 32, "audio": 16, "vision": 20}
STEPS = {"text": (8, 20), "audio": (12, 40), "vision": (10, 30)}
PRIVATE = 2
SLOPE, LABEL_NOISE, GAIN, MARKER, BACKGROUND = 0.7, 0.2, 2.0, 1.5, 0.8
EMOTIONS = ("angry", "happy", "neutral", "sad")
LEVELS = (
    ("awful", "terrible", "hate", "worst"),
    ("bad", "boring", "weak", "poor"),
    ("okay", "average", "fine", "usual"),
    ("good", "nice", "solid", "enjoyed"),
    ("great", "wonderful", "love", "best"),
)
FILLER = ("the", "and", "it", "was", "um", "so", "i", "think", "this", "really", "you", "know", "they", "with", "that", "but")
TOPICS = ("film", "phone", "meal", "game", "book", "hotel", "car", "song")
WORDS = ("[PAD]", "[UNK]", *(word for level in LEVELS for word in level), *FILLER, *TOPICS)


class Config(Options):
    """Options of the source `synthetic`."""

    rows: int = Field(1200, ge=200, le=100_000)
    domains: int = Field(3, ge=1, le=len(TOPICS))
    noise: float = Field(1.0, ge=0)
    shift: float = Field(0.5, ge=0)
    spurious: float = Field(0.0, ge=0)
    spurious_spread: float = Field(0.0, ge=0, le=1)
    domain_specific: float = Field(0.0, ge=0, le=1)
    private_label: float = Field(0.0, ge=0, le=1)
    missing: float = Field(0.0, ge=0, lt=1)
    text: Literal["vectors", "ids"] = "vectors"
    seed: int = Field(0, ge=0)

    @property
    def strengths(self) -> np.ndarray:
        """Float[domains]: how strongly, and with which sign, the spurious cue follows the label in each domain."""
        strengths = self.spurious * (1 - self.spurious_spread * np.arange(self.domains) / max(1, self.domains - 2))
        return strengths if self.domains == 1 else np.append(strengths[:-1], -self.spurious)

    @property
    def fingerprint(self) -> str:
        later = set() if self.spurious_spread else {"spurious_spread"}  # at 0 the data are those from before it existed
        return sha256(f"synthetic {VERSION} {self.model_dump_json(exclude=later)}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Planted:
    """What is true of the n rows of one split. `evidence[m]`: Ragged of bool, step by step beside the modality's sequence."""

    shared: np.ndarray  # Float[n]
    reading: Mapping[str, np.ndarray]  # Float[n]: the shared factor as modality m shows it
    private: Mapping[str, np.ndarray]  # Float[n PRIVATE]
    present: Mapping[str, np.ndarray]  # Bool[n]
    evidence: Mapping[str, Ragged]
    spurious: np.ndarray  # Float[n]
    latent: np.ndarray  # Float[n]: z, of which the label is a noisy, squashed copy


@dataclass(frozen=True, eq=False)
class Truth:
    """All that was planted: `truth["test"].shared`; `directions[m][name]`: Float[w] or Float[domains w] or Float[PRIVATE w];
    `config.strengths`: Float[domains], the strength of the spurious cue."""

    splits: Mapping[str, Planted]
    directions: Mapping[str, Mapping[str, np.ndarray]]
    config: Config

    def __getitem__(self, split: str) -> Planted:
        return self.splits[split]

    def rearranged(self, parts: Mapping[str, Sequence[tuple[str, np.ndarray]]]) -> Truth:
        """What is true of new splits: `parts[name]` lists the (old split, its row numbers) that stand in it, one after the other."""
        pieces = {name: [(vars(self.splits[old]), rows) for old, rows in taken] for name, taken in parts.items()}
        return replace(self, splits={name: Planted(**_gather(taken)) for name, taken in pieces.items()})

    def ideal(self, split: str, modalities: Sequence[str] | None = None) -> np.ndarray:
        """Float[n]: the best possible sentiment from these modalities (None: all), the median given their readings.

        Readings are Gaussian around s, so E[s] = sum(r_m / σ_m²) / (1 + sum(1 / σ_m²)), and tanh keeps the median.
        """
        planted, config = self.splits[split], self.config
        weight, total = np.ones(len(planted.shared)), np.zeros(len(planted.shared))
        private = np.zeros(len(planted.shared))
        for m in modalities if modalities is not None else planted.reading:
            precision = planted.present[m] / max((config.noise * NOISE[m]) ** 2, 1e-6)
            weight, total = weight + precision, total + precision * planted.reading[m]
            private += planted.present[m] * planted.private[m][:, 0] / np.sqrt(len(planted.reading))
        return 3 * np.tanh(SLOPE * (np.sqrt(1 - config.private_label) * total / weight + np.sqrt(config.private_label) * private))


class Transcripts(Sequence[str]):
    """Rows of word ids, joined into text when asked for."""

    def __init__(self, words: Ragged, separator: str = " "):
        self.words, self.separator = words, separator

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, row):  # type: ignore[override]
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        return self.separator.join(WORDS[i] for i in self.words.row(range(len(self))[row]))


class Synthetic:
    """The source `synthetic`, `synthetic:rows=500,spurious=1`."""

    Config = Config

    def matches(self, path: Path) -> bool:
        """It is made, not read."""
        return False

    def load(self, options: Config | None = None) -> Dataset:
        """The dataset of these options: train, valid and test of 70, 15 and 15%."""
        config = options or Config()  # pyright: ignore[reportCallIssue]
        generator = np.random.default_rng([VERSION, config.seed])
        facts = _facts(config, generator)
        parts: dict[str, Part] = {}
        planted: dict[str, Planted] = {}
        directions = {m: _directions(config, m, generator) for m in WIDTH}
        bounds = np.round(np.array([0, 0.7, 0.85, 1]) * config.rows).astype(int)
        for split, start, stop in zip(("train", "valid", "test"), bounds, bounds[1:], strict=False):
            rows = _each(facts, slice(start, stop))
            parts[split], planted[split] = _part(config, split, rows, directions, generator)
        tasks = {"sentiment": Task(), "emotion": Task("classes", classes=EMOTIONS)}
        ids = config.text == "ids"
        return assemble(
            "synthetic",
            parts,
            tasks,
            vocabularies={"text": len(WORDS)} if ids else {},
            unknown={"text": WORDS.index("[UNK]")} if ids else {},
            truth=Truth(planted, directions, config),
            fingerprint=config.fingerprint,
            domains=TOPICS[: config.domains],
        )


def _gather(pieces: Sequence[tuple[Any, np.ndarray]]) -> Any:
    """These rows of trees of one shape, leaf by leaf one after the other."""
    first = pieces[0][0]
    if isinstance(first, Mapping):
        return {k: _gather([(tree[k], rows) for tree, rows in pieces]) for k in first}
    if isinstance(first, Ragged):
        return join_ragged([leaf.take(rows) for leaf, rows in pieces])
    return np.concatenate([leaf[rows] for leaf, rows in pieces])


def _each(tree: Any, rows: slice) -> Any:
    return {k: _each(v, rows) for k, v in tree.items()} if isinstance(tree, dict) else tree[rows]


def _facts(config: Config, generator: np.random.Generator) -> dict[str, Any]:
    """Everything about an utterance but its sequences."""
    n, draw = config.rows, generator.standard_normal
    shared = draw(n)
    private = {m: draw((n, PRIVATE)) for m in WIDTH}
    joint = sum(p[:, 0] for p in private.values()) / np.sqrt(len(WIDTH))
    latent = np.sqrt(1 - config.private_label) * shared + np.sqrt(config.private_label) * joint
    label = np.clip(3 * np.tanh(SLOPE * latent) + LABEL_NOISE * draw(n), -3, 3)
    domain = generator.integers(config.domains, size=n)
    dark = np.where(private["audio"][:, 0] > 0, EMOTIONS.index("angry"), EMOTIONS.index("sad"))
    emotion = np.where(latent > 0.4, EMOTIONS.index("happy"), np.where(latent < -0.4, dark, EMOTIONS.index("neutral")))
    absent = generator.random((n, len(WIDTH))) < config.missing
    absent[np.arange(n), generator.integers(len(WIDTH), size=n)] = False
    return {
        "shared": shared,
        "private": private,
        "latent": latent,
        "label": label,
        "domain": domain,
        "reading": {m: shared + config.noise * NOISE[m] * draw(n) for m in WIDTH},
        "spurious": config.strengths[domain] * (label / 3) + (0.3 * draw(n) if config.spurious else 0.0),
        "emotion": np.where(generator.random(n) < 0.05, generator.integers(len(EMOTIONS), size=n), emotion),
        "present": {m: ~absent[:, i] for i, m in enumerate(WIDTH)},
    }


def _directions(config: Config, modality: str, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Orthonormal directions of one modality, and the style of every domain."""
    width, domains = WIDTH[modality], config.domains
    basis = np.linalg.qr(generator.standard_normal((width, width)))[0].T
    own = basis[3 + PRIVATE + np.arange(domains) % (width - 3 - PRIVATE)]
    reading = np.sqrt(1 - config.domain_specific) * basis[0] + np.sqrt(config.domain_specific) * own
    return {
        "shared": reading,  # [domains w]
        "marker": basis[1],
        "spurious": basis[2],
        "private": basis[3 : 3 + PRIVATE],
        "scale": np.exp(0.3 * config.shift * generator.standard_normal((domains, width))),
        "shift": config.shift * generator.standard_normal((domains, width)),
    }


def _part(
    config: Config, split: str, facts: dict[str, Any], directions: Mapping[str, Any], generator: np.random.Generator
) -> tuple[Part, Planted]:
    """The sequences of one split, and what is true of them."""
    n = len(facts["shared"])
    sequences, evidence = {}, {}
    for m in WIDTH:
        low, high = STEPS[m]
        lengths = np.where(facts["present"][m], generator.integers(low, high + 1, size=n), 0)
        offsets, row = offsets_of(lengths), np.repeat(np.arange(n), lengths)
        marks = generator.random(len(row)) < 1 / 3
        marks[offsets[:-1][lengths > 0] + (generator.random(n) * lengths).astype(np.int64)[lengths > 0]] = True
        evidence[m] = Ragged(marks, offsets)
        if m == "text":
            words = Ragged(_words(facts, row, marks, generator), offsets)
        ids = m == "text" and config.text == "ids"
        sequences[m] = words if ids else Ragged(_steps(m, facts, directions[m], row, marks, generator), offsets)
    part = Part(
        sequences,
        {"sentiment": facts["label"], "emotion": facts["emotion"]},
        [f"{split}_{i}" for i in range(n)],
        Transcripts(words),
        Transcripts(words, TOKEN_SEPARATOR),
        np.array(TOPICS)[facts["domain"]].tolist(),
    )
    known = {k: facts[k] for k in ("shared", "reading", "private", "present", "spurious", "latent")}
    return part, Planted(**known, evidence=evidence)


def _steps(
    modality: str, facts: dict[str, Any], way: Mapping[str, np.ndarray], row: np.ndarray, marks: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Float32[s w]: all steps of one modality in one go."""
    domain = facts["domain"]
    shown = GAIN * facts["reading"][modality][:, None] * way["shared"][domain] + MARKER * way["marker"]  # [n w]
    ground = BACKGROUND * facts["private"][modality] @ way["private"]
    if modality == list(WIDTH)[-1]:
        ground = ground + BACKGROUND * facts["spurious"][:, None] * way["spurious"]
    x = generator.standard_normal((len(row), WIDTH[modality]), dtype=np.float32)
    x += ground.astype(np.float32)[row]
    x[marks] += shown.astype(np.float32)[row[marks]]
    x *= way["scale"].astype(np.float32)[domain][row]
    x += way["shift"].astype(np.float32)[domain][row]
    return x


def _words(facts: dict[str, Any], row: np.ndarray, marks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Int32[s]: a word of the reading's level at the evidence, filler and the domain's topic elsewhere."""
    level = np.digitize(facts["reading"]["text"], [-1.4, -0.5, 0.5, 1.4])
    choices = len(LEVELS[0])
    telling = 2 + level[row] * choices + generator.integers(choices, size=len(row))
    filler = 2 + len(LEVELS) * choices + generator.integers(len(FILLER), size=len(row))
    topic = WORDS.index(TOPICS[0]) + facts["domain"][row]
    plain = np.where(generator.random(len(row)) < 0.15, topic, filler)
    return np.where(marks, telling, plain).astype(np.int32)


DATA = Synthetic()
