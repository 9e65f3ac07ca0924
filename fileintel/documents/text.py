"""Cleaning text: what a parser hands out is made fit for Postgres, for a prompt and for a person's eye."""

from __future__ import annotations

import re

# C0 and C1 controls but tab and newline, lone surrogates, soft hyphens, zero-width spaces and joins of the kind
# that only break search (ZWJ and ZWNJ stay: Persian, Indic scripts and emoji need them), non-characters.
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff\ufffe\uffff\ud800-\udfff]")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_RUNS = re.compile("[ \t]+")
_LEADERS = re.compile(r"(?:[ \t]*[.·…]){4,}[ \t]*")
_LIGATURES = {
    "\ufb00": "ff",
    "\ufb01": "fi",
    "\ufb02": "fl",
    "\ufb03": "ffi",
    "\ufb04": "ffl",
    "\ufb05": "st",
    "\ufb06": "st",
}
_LIGATURE = re.compile("[\ufb00-\ufb06]")
_CJK = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")


def named(words: str) -> frozenset[str]:
    """A set of words written as one string."""
    return frozenset(words.split())


def clean(text: str) -> str:
    """The text without NUL, other controls, lone surrogates and invisible marks; newlines are `\\n`, spaces plain."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0b", "\n").replace("\x85", "\n")
    text = text.replace("\u2028", "\n").replace("\u2029", "\n\n")
    text = _SPACES.sub(" ", _UNWANTED.sub("", text))
    return _LIGATURE.sub(lambda found: _LIGATURES[found.group()], text)


def one_line(text: str) -> str:
    """The cleaned text on one line with single spaces."""
    return " ".join(clean(text).split())


def tidy(text: str) -> str:
    """The cleaned text with runs of blanks made one, dotted leaders made an ellipsis, blank ends of lines cut."""
    lines = (_RUNS.sub(" ", _LEADERS.sub(" … ", line)).strip() for line in clean(text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def joined(before: str, after: str) -> str:
    """Two halves of a wrapped line as one: no space between Chinese, Japanese or Korean characters."""
    if before and after and _CJK.match(before[-1]) and _CJK.match(after[0]):
        return before + after
    return f"{before} {after}"


def label(name: str) -> str:
    """The file's name as an error may show it: quoted, on one line, without folders or controls, 120 characters."""
    base = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    shown = "".join(c if c.isprintable() else " " for c in base)
    shown = " ".join(shown.split()) or "document"
    return f'"{shown if len(shown) <= 120 else shown[:100] + "…" + shown[-19:]}"'
