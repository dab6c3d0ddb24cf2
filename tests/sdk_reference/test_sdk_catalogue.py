"""Every code a person may meet has a text in every language, short enough for a small screen."""

from __future__ import annotations

import inspect
import re

import pytest

from sdk_reference import decide, errors
from sdk_reference.catalogue import MESSAGES, Catalogue, language_of_locale, languages
from sdk_reference.errors import FlashproofError, InvalidInput

LANGUAGES = languages()
STATES = (
    *("starting", "warning_flash", "look_here", "place_face", "move_closer", "move_back", "centre_face"),
    *("look_straight", "hold_still", "checking_light", "flashing", "matching", "deciding", "verified", "not_verified"),
    *("wait", "try_again", "try_again_in", "no_attempt_left", "unexpected"),
)
SPOOF_REASONS = tuple(re.findall(r'Reason\(\s*"(\w+)"', inspect.getsource(decide)))
ERRORS = tuple(
    kind.code for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FlashproofError)
)


def test_there_are_two_languages() -> None:
    assert {"de", "en"} <= set(LANGUAGES)


def test_the_codes_to_cover_were_found() -> None:
    assert set(SPOOF_REASONS) == {"score_below_threshold", "response_mismatch"}
    assert len(ERRORS) > 40


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_error_reason_and_state_has_a_text_and_no_text_is_left_over(language: str) -> None:
    assert set(Catalogue.load(language).messages) == {*ERRORS, *SPOOF_REASONS, *STATES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_fit_a_small_screen_and_are_ready_to_show(language: str) -> None:
    for code, message in Catalogue.load(language).messages.items():
        assert 4 <= len(message.title) <= 40, code
        assert 12 <= len(message.hint) <= 84, code
        assert not message.title.endswith("."), code
        assert message.hint.endswith("."), code
        assert not re.search(r"[{}%<>$_]|TODO|  ", message.title + message.hint), code
        assert message.title == message.title.strip() and message.hint == message.hint.strip()


def test_languages_differ_in_every_text() -> None:
    english, german = Catalogue.load("en"), Catalogue.load("de")
    assert [code for code in english.messages if english.hint(code) == german.hint(code)] == []


def test_german_says_sie_and_never_du() -> None:
    texts = [text for m in Catalogue.load("de").messages.values() for text in (m.title, m.hint)]
    assert sum(bool(re.search(r"\bSie\b", text)) for text in texts) > 30
    for text in texts:
        assert not re.search(r"\b([Dd]u|[Dd]ich|[Dd]ir|[Dd]eine?[mnrs]?|[Ee]uch|[Ee]uer)\b", text)
        # An imperative without Sie, as in "Halte still", ends in e.
        assert not re.match(r"(Halte|Schaue?|Komme?|Gehe?|Bringe?|Drehe?)\b", text)
        assert not re.search(r"ae|oe|(?<![aeäqQ])ue", text), f"an umlaut written as two letters in {text!r}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_attacker_learns_nothing_about_what_gave_him_away(language: str) -> None:
    catalogue = Catalogue.load(language)
    texts = {catalogue.messages[code] for code in (*SPOOF_REASONS, "not_verified")}
    assert len(texts) == 1


@pytest.mark.parametrize("code", ["", "no such code", "NO_FACE", "../en"])
def test_an_unknown_code_reads_as_something_unexpected(code: str) -> None:
    catalogue = Catalogue.load("en")
    assert catalogue.title(code) == catalogue.title("unexpected") == "Something went wrong"
    assert catalogue.hint(code) == catalogue.hint("unexpected")


@pytest.mark.parametrize("language", ["fr", "", "EN", "../messages/en", "en.json"])
def test_an_unknown_language_is_refused_with_those_there_are(language: str) -> None:
    with pytest.raises(InvalidInput, match="one of de, en"):
        Catalogue.load(language)


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "de_AT.UTF-8"}, "de"),
        ({"LANG": "de"}, "de"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "de_DE.UTF-8"}, "de"),
        ({"LANG": "", "LC_ALL": "de_CH.utf8"}, "de"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "xx_nonsense@@"}, "en"),
    ],
)
def test_the_locale_chooses_the_language(environment: dict[str, str], language: str) -> None:
    assert language_of_locale(environment) == language


def test_the_name_that_windows_gives_a_locale_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getlocale", lambda: ("German_Germany", "1252"))
    assert language_of_locale({}) == "de"


def test_without_a_language_the_locale_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert Catalogue.load().title("verified") == "Bestätigt"


def test_translations_are_files_of_the_package() -> None:
    assert MESSAGES.is_dir() and MESSAGES.parent.name == "sdk_reference"
