"""Small pieces of plain sentences: words of the vocabulary, lists, times."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_NAMED = 8
"""Most things of one kind that a sentence names."""


def who(actor: str) -> str:
    """Who caused an entry, at the beginning of a sentence: ``The service itself``, or role and name."""
    role, _, name = actor.partition("/")
    return f"The {role} {name}" if name else "The service itself"


def word(name: str) -> str:
    """``DETECT_FACES`` as ``detect faces``."""
    return name.replace("_", " ").lower()


def article(name: str) -> str:
    """``EMPLOYEE`` as ``an employee``."""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {word(name)}"


def words(names: Iterable[str]) -> str:
    """Words of the vocabulary as a list."""
    return listed(word(name) for name in names)


def listed(items: Iterable[object]) -> str:
    """``a, b and c``; what is beyond :data:`MAX_NAMED` is counted."""
    texts = [str(item) for item in items]
    if len(texts) > MAX_NAMED:
        texts = [*texts[:MAX_NAMED], f"{len(texts) - MAX_NAMED} more"]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def entries(indices: Sequence[int]) -> str:
    """``entry 3``, ``entries 3 and 4``."""
    return f"{'entry' if len(indices) == 1 else 'entries'} {listed(indices)}"


def moment(text: str) -> str:
    """Seconds are enough for a reader; the bytes have the rest."""
    return f"{text[:10]} {text[11:19]} UTC"


def span(length: timedelta) -> str:
    """A length of time in its largest unit."""
    for size, name in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        count = length // size
        if count >= 1:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{int(length.total_seconds())} seconds"
