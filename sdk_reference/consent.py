"""Consent of the people who are recorded for training: what they are told, and the proof that they agreed.

The paper's people were recorded by its authors (section 6.1), who do not print their form. This text is a draft by
engineers: whoever records people answers for it, and has it checked by somebody who knows the law of the place. It is
kept beside the recordings, word for word, with its hash, so that years later one knows what was agreed to:

    consent-1.txt   the text, in both languages
    consent.json    {"format": "flashproof-consent", "version": 1, "consents": [
                       {"subject", "text_version", "text_sha256", "given": "here" | "signed_form", "at": ISO time}]}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from sdk_reference.atomic_files import write_atomically, write_json
from sdk_reference.errors import InvalidInput

CONSENT_FILE: Final = "consent.json"
FORMAT: Final = "flashproof-consent"
VERSION: Final = 1
TEXT_VERSION: Final = 1
"""Raise it with every change of the texts."""

Given = Literal["here", "signed_form"]
YES: Final = frozenset({"yes", "ja"})
ENGLISH: Final = """\
CONSENT TO BEING RECORDED
- Your face is filmed while the screen lights it in changing colours, several times, a few seconds each.
- The colours flash. Do not take part if flashing light has ever given you a seizure or made you unwell.
- The films are used to train and test software that tells a live face from a photograph, a screen or a mask.
- They are stored on this computer under a pseudonym. A film of a face identifies you all the same.
- Taking part is your free choice. You can stop at any time (Escape), and you can ask the person who records you to
  delete your films later, by the pseudonym; what was learnt from them before cannot be taken out of a trained model.
- You are of age, or whoever has custody of you agrees as well."""
GERMAN: Final = """\
EINWILLIGUNG IN DIE AUFNAHME
- Ihr Gesicht wird gefilmt, während der Bildschirm es in wechselnden Farben beleuchtet, mehrmals einige Sekunden lang.
- Die Farben blitzen. Nehmen Sie nicht teil, wenn flackerndes Licht bei Ihnen je einen Anfall oder Unwohlsein ausgelöst
  hat.
- Mit den Filmen wird Software trainiert und geprüft, die ein lebendes Gesicht von Foto, Bildschirm oder Maske
  unterscheidet.
- Sie werden auf diesem Rechner unter einem Pseudonym gespeichert. Ein Film eines Gesichts verrät trotzdem, wer es ist.
- Die Teilnahme ist freiwillig. Sie können jederzeit abbrechen (Escape) und später bei der aufnehmenden Person unter
  Angabe des Pseudonyms die Löschung verlangen; was ein Modell vorher gelernt hat, lässt sich nicht mehr entfernen.
- Sie sind volljährig, oder die sorgeberechtigte Person willigt ebenfalls ein."""
TEXT: Final = f"{ENGLISH}\n\n{GERMAN}\n"
TEXT_SHA256: Final = hashlib.sha256(TEXT.encode()).hexdigest()
ENTRY_KEYS: Final = {"subject", "text_version", "text_sha256", "given", "at"}


@dataclass(frozen=True)
class Consent:
    """One person's agreement."""

    subject: str
    """Pseudonym, as in the labels."""
    text_version: int
    text_sha256: str
    """Of the text that was shown."""
    given: Given
    """`here`: typed on this computer; `signed_form`: whoever recorded says that a signed form exists."""
    at: str
    """When that was noted, ISO 8601 in UTC."""


def text_file(version: int = TEXT_VERSION) -> str:
    """Name of the file that holds the text of this version."""
    return f"consent-{version}.txt"


def read_consents(folder: Path) -> tuple[Consent, ...]:
    """The consents kept in a folder of recordings; raises InvalidInput when they cannot be read."""
    path = folder / CONSENT_FILE
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT or raw["version"] != VERSION:
            raise ValueError("another format or version")
        return tuple(_consent(entry) for entry in raw["consents"])
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            found=f"{path}, which cannot be read ({error})",
            expected="the consents of the people recorded here",
            remedy="restore the file from a copy; do not delete it: it is the proof that people agreed",
        ) from error


def _consent(entry: Any) -> Consent:
    if set(entry) != ENTRY_KEYS or entry["given"] not in get_args(Given):
        raise ValueError(f"a consent with the keys {sorted(entry)}")
    return Consent(**entry)


def require_consent(
    folder: Path, subject: str, now: Callable[[], datetime], *, signed_form: bool, ask: Callable[[str], str]
) -> Consent:
    """Return this person's consent to the text of today, asked for when it is not kept yet; raises InvalidInput.

    `ask(text)` shows the text and returns what was typed; it is not called with `signed_form`. `now` is in UTC.
    """
    for kept in read_consents(folder):
        if kept.subject == subject and kept.text_sha256 == TEXT_SHA256:
            return kept
    if not signed_form and ask(TEXT).strip().lower() not in YES:
        raise InvalidInput(
            found=f"no consent of {subject}",
            expected="`yes` or `ja` typed by the person who is to be recorded",
            remedy="record nobody who does not agree; with a signed form at hand, give --consent",
        )
    consent = Consent(
        subject,
        TEXT_VERSION,
        TEXT_SHA256,
        "signed_form" if signed_form else "here",
        now().isoformat(timespec="seconds"),
    )
    _keep(folder, consent)
    return consent


def _keep(folder: Path, consent: Consent) -> None:
    write_atomically(folder / text_file(consent.text_version), TEXT.encode())
    entries = [asdict(entry) for entry in (*read_consents(folder), consent)]
    write_json(folder / CONSENT_FILE, {"format": FORMAT, "version": VERSION, "consents": entries})
