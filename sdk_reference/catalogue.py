"""What a person reads on the screen, in his language: a title and what to do, by the code of a state or an error.

Not in the paper. A translation is one file in `messages/`, code → {"title", "hint"}, with the codes of `en.json`: every
code of the error tree, the reasons of `sdk_reference.decide` and the states of a session. The texts have no places to
fill in, so that a translation cannot break a screen. A refused attacker must not learn what gave him away: all reasons
for a spoof read the same.
"""

from __future__ import annotations

import json
import locale
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from sdk_reference.errors import InvalidInput

MESSAGES: Final = Path(__file__).with_name("messages")
FALLBACK_LANGUAGE: Final = "en"
UNEXPECTED: Final = "unexpected"
"""Code of the text for codes that the catalogue does not know."""

LOCALE_VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")  # in the order in which POSIX lets them count


@dataclass(frozen=True)
class Message:
    """What is said about one code."""

    title: str
    """At most 40 characters: the one line that is read at a glance."""
    hint: str
    """One or two short sentences that a person can act on."""


@dataclass(frozen=True)
class Catalogue:
    """All texts of one language."""

    language: str
    """Two letters, e.g. `de`."""
    messages: Mapping[str, Message]

    @classmethod
    def load(cls, language: str | None = None) -> Catalogue:
        """Read the texts of `language`; without one those of the locale, else English. Raises InvalidInput."""
        chosen = language_of_locale() if language is None else checked_language(language)
        return cls(chosen, _messages(chosen))

    def title(self, code: str) -> str:
        """Return the title of `code`; of a code nobody knows that of `unexpected`."""
        return self._message(code).title

    def hint(self, code: str) -> str:
        """Return what to do about `code`; of a code nobody knows that of `unexpected`."""
        return self._message(code).hint

    def _message(self, code: str) -> Message:
        return self.messages.get(code) or self.messages[UNEXPECTED]


def languages() -> tuple[str, ...]:
    """The languages there are, in alphabetical order."""
    return tuple(sorted(path.stem for path in MESSAGES.glob("*.json")))


def checked_language(language: str) -> str:
    """Return `language` when there is a translation, else raise InvalidInput naming those there are."""
    if language not in languages():
        raise InvalidInput(
            found=f"language {language!r}",
            expected=f"one of {', '.join(languages())}",
            remedy=f"choose one of these, or translate {MESSAGES.name}/{FALLBACK_LANGUAGE}.json",
        )
    return language


def language_of_locale(environment: Mapping[str, str] | None = None) -> str:
    """The language that the user set for his programs, where it is translated; else English."""
    environment = os.environ if environment is None else environment
    # The first that is set counts, even when it is "C": then nothing after it is asked.
    named: Iterable[str | None] = (environment.get(variable) or None for variable in LOCALE_VARIABLES)
    name = next((value for value in named if value), None) or locale.getlocale()[0] or FALLBACK_LANGUAGE
    # Windows says "German_Germany": the standard library knows that "german" is "de_DE".
    language = locale.normalize(name.split("_")[0].split(".")[0])[:2].lower()
    return language if language in languages() else FALLBACK_LANGUAGE


@cache
def _messages(language: str) -> Mapping[str, Message]:
    texts = json.loads((MESSAGES / f"{language}.json").read_text(encoding="utf-8"))
    return {code: Message(**text) for code, text in texts.items()}
