"""Search text: what is indexed and what is asked for go through the same `fold`, so that they meet.

>>> fold("Sigur Rós – Ágætis byrjun")
'sigur ros agaetis byrjun'
>>> ts_query(words("Sigur Ró"))
"'sigur':* & 'ro':*"
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

MAX_WORDS = 16
MAX_WORD_LENGTH = 64

# Letters that Unicode does not decompose, but that people type without their ornament.
_LETTERS = str.maketrans(
    {
        "ı": "i",
        "ø": "o",
        "æ": "ae",
        "œ": "oe",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ħ": "h",
        "ŧ": "t",
        "ŋ": "n",
        "ĸ": "k",
        "ə": "e",
        "'": "",
        "’": "",
        "ʼ": "",
    }
)
# Scripts written without spaces: each sign becomes a word, so that any part of a title is found.
_IDEOGRAPH = re.compile(r"([\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff])")
# Combining classes of marks that change a sound or a sign rather than ornament a letter:
# nukta, kana voicing, virama.
_ASCII_WORD = re.compile(r"[a-z0-9]+")  # most text is; a sixth of the time
_KEPT_MARKS = frozenset({0, 7, 8, 9})


def fold(text: str) -> str:
    """The text as words of plain lower-case letters and digits, one space between: no accents, no signs.

    Fold twice, get the same. NUL, lone surrogates and anything else that Postgres or a tsquery could
    stumble over is gone.
    """
    if text.isascii():
        return " ".join(_ASCII_WORD.findall(text.lower().replace("'", "")))
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(c for c in decomposed if unicodedata.combining(c) in _KEPT_MARKS)
    joined = unicodedata.normalize("NFKC", bare.translate(_LETTERS))
    # Vowel signs of Indic scripts are marks, not letters, yet part of the word.
    letters = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in joined)
    return " ".join(_IDEOGRAPH.sub(r" \1 ", letters).split())


def words(text: str) -> list[str]:
    """The words that a query asks for: folded, without repeats, at most `MAX_WORDS`, each cut to size."""
    # A query of megabytes must not cost megabytes of folding.
    head = text[: MAX_WORDS * MAX_WORD_LENGTH]
    unique = dict.fromkeys(word[:MAX_WORD_LENGTH] for word in fold(head).split())
    return list(unique)[:MAX_WORDS]


def ts_query(asked: Sequence[str]) -> str:
    """A query for `to_tsquery('simple', …)` in which each of these folded words must occur, at least as a
    beginning. Of none of them, a query that matches nothing."""
    return " & ".join(f"'{word}':*" for word in asked)
