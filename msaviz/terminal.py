"""How does a text of the data appear in a terminal, which obeys what it is told to show?"""

from __future__ import annotations

import re
import sys

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters (but tab and end of line), what turns the direction of writing, what ends lines, and bytes that are no text."""


def visible(text: str) -> str:
    """The text with everything that a terminal would obey written as JSON writes it, so that JSON says the same as before."""
    return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: object = "", *, err: bool = False) -> None:
    """Print a line in which nothing is obeyed; what the terminal's encoding lacks is written as it is in Python."""
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(visible(str(text)).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
