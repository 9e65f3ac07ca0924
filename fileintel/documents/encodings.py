"""Bytes to text: UTF-8 when it is valid, a byte order mark when there is one, `charset-normalizer` for the rest."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_SAMPLE = 1 << 18
# Letters and marks of western European languages; those that Windows-1250 puts other letters at are left out.
_WESTERN = frozenset("äöüßÄÖÜéèêëàâçîïôûñÉÈÀÇÑáíóúåæÅÆ€§°«»–—‘’“”„…•®©")


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text in some encoding: no controls but white space, or UTF-16/32."""
    if any(head.startswith(mark) for mark, _ in _MARKS) or _wide(head):
        return True
    return len(_CONTROLS.findall(head)) * 500 <= len(head) and head.count(b"\0") * 2000 <= len(head)


def decode(data: bytes) -> tuple[str, str]:
    """The text and the name of its encoding; bytes that fit no encoding at all become U+FFFD."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        encoding = _wide(data[:_SAMPLE]) or _legacy(data)
    return data.decode(encoding, "replace"), encoding


def decode_sample(head: bytes) -> str:
    """A cheap reading of a file's first bytes, good enough to look for ASCII words in it."""
    encoding = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None) or _wide(head) or "utf-8"
    return head.decode(encoding, "ignore")


def _wide(data: bytes) -> str | None:
    """UTF-16 without a byte order mark, told by where its NULs are."""
    if len(data) < 4:
        return None
    even, odd = data[0::2].count(0), data[1::2].count(0)
    half = len(data) // 2
    if odd > half * 0.4 and even < half * 0.05:
        return "utf-16-le"
    if even > half * 0.4 and odd < half * 0.05:
        return "utf-16-be"
    return None


def _legacy(data: bytes) -> str:
    """The 8-bit or multi-byte encoding of non-UTF-8 bytes."""
    from charset_normalizer import from_bytes

    if _is_western(data[:_SAMPLE]):
        return "cp1252"
    best = from_bytes(data[:_SAMPLE]).best()
    return "cp1252" if best is None else best.encoding


def _is_western(data: bytes) -> bool:
    """Whether the bytes read as Windows-1252 the way western European text does.

    The statistics of `charset-normalizer` need some hundred characters; a short German or French text has a handful
    of accented letters, each between ASCII letters, which hardly any text in another script has.
    """
    high = [i for i, byte in enumerate(data) if byte >= 0x80]
    if any(data[i] in (0x81, 0x8D, 0x8F, 0x90, 0x9D) for i in high):
        return False
    letters = len(re.findall(rb"[A-Za-z]", data))
    text = data.decode("cp1252", "replace")
    odd = [c for c in text if ord(c) >= 0x80]
    usual = sum(c in _WESTERN for c in odd)
    return letters >= len(high) and usual >= 0.95 * len(odd)
