"""Reads a page that was made: its text, tags and pictures, and whether it would fetch anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID_TAGS = {"meta", "img", "br"}
FETCHING = re.compile(
    r"""(?:src|href|url|@import)\s*[=(]?\s*["']?\s*(?!data:|#)(?:https?:|//|[\w./]+\.\w+)""", re.IGNORECASE
)


class Page(HTMLParser):
    """Checks that tags are balanced and collects text, attributes and pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID_TAGS:
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open_tags:
            self.text += data
