"""What a file is, by its bytes.

Own rules rather than a classifier (`magika`: 0.5 s and 60 MB a process for its network, and a guess for short texts):
the formats read here have signatures or a zip directory, and text is text. `filetype` (0.03 s) only puts a name to
binaries that are not read.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from fileintel.documents import archives, encodings, formats
from fileintel.documents.formats import Format
from fileintel.errors import (
    CorruptDocumentError,
    EmptyDocumentError,
    EncryptedDocumentError,
    MislabelledDocumentError,
    UnsupportedDocumentError,
)

_HEAD = 8192
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MARKUP = re.compile(r"(?is)\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html[\s>])")
_WORKBOOK = re.compile(
    rb"spreadsheetml\.(?:sheet|template)\.main\+xml|excel\.(?:sheet|template)\.macroEnabled\.main\+xml"
)
_SIGNED_TEXTS = ((b"{\\rtf", "an RTF document"), (b"%!PS", "a PostScript document"))
_SAVE = "save it as one of them and send it again"


def detect(path: Path, name: str, shown: str) -> Format:
    """The format of the file's content, checked against its name's extension.

    Raises EmptyDocumentError, EncryptedDocumentError, CorruptDocumentError, MislabelledDocumentError,
    UnsupportedDocumentError or DocumentTooLargeError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.strip(b"\x00\t\n\r\f "):
        raise EmptyDocumentError(f"{shown} is empty; send a file with text in it")
    extension = Path(name.strip().replace("\\", "/")).suffix.lower()
    promised = formats.by_extension(extension)
    found: Format | str | None
    if b"%PDF-" in head[:1024]:
        found = formats.PDF
    elif head.startswith(_OLE):
        found = _ole(path, shown)
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        found = _zip(path, shown, promised)
    elif head.startswith(tuple(signature for signature, _ in _SIGNED_TEXTS)):
        found = next(name for signature, name in _SIGNED_TEXTS if head.startswith(signature))
    elif encodings.is_text(head):
        return _text(head, extension, promised, shown)
    else:
        found = _binary(head)
    return _agreed(found, extension, promised, shown)


def _agreed(found: Format | str | None, extension: str, promised: Format | None, shown: str) -> Format:
    """What was found, if the name does not say otherwise and the format is one that is read."""
    if isinstance(found, Format):
        if promised is not None and promised is not found:
            raise _mislabelled(shown, promised.name, found)
        if promised is None and _is_foreign(extension):
            raise _mislabelled(shown, extension.lstrip(".").upper(), found)
        return found
    if promised is not None:
        if found is None and not promised.is_text:
            raise CorruptDocumentError(
                f"{shown} is damaged: its first bytes are not those of a {promised.name} file; send the file again"
            )
        raise MislabelledDocumentError(
            f"{shown} is named as {promised.name} but holds {found or 'binary data'}, which is not read; "
            f"send the real {promised.name} file"
        )
    kind = found or "binary data of no known kind"
    raise UnsupportedDocumentError(f"{shown} is {kind}; {formats.READ} are read: {_SAVE}")


def _mislabelled(shown: str, promised: str, found: Format) -> MislabelledDocumentError:
    cure = f"rename it to end in {found.extensions[0]} or send the real {promised} file"
    return MislabelledDocumentError(f"{shown} is named as {promised} but holds {found.name}; {cure}")


def _text(head: bytes, extension: str, promised: Format | None, shown: str) -> Format:
    if promised is not None and promised.is_text:
        return promised
    looks_like = formats.HTML if _MARKUP.match(encodings.decode_sample(head)) else formats.TEXT
    if promised is not None:
        raise _mislabelled(shown, promised.name, looks_like)
    return looks_like


def _ole(path: Path, shown: str) -> str:
    """Name the old Office file; raises EncryptedDocumentError when it wraps a document that has a password."""
    data = path.read_bytes()

    def has(stream: str) -> bool:
        return stream.encode("utf-16-le") in data

    if has("EncryptedPackage") or has("EncryptionInfo"):
        raise EncryptedDocumentError(f"{shown} asks for a password; save it without one and send it again")
    for stream, called in (
        ("WordDocument", "an old Word document (.doc)"),
        ("Workbook", "an old Excel workbook (.xls)"),
        ("PowerPoint Document", "an old PowerPoint presentation (.ppt)"),
        ("__properties_version1.0", "an Outlook message (.msg)"),
    ):
        if has(stream):
            return called
    return "an old binary Office file"


def _zip(path: Path, shown: str, promised: Format | None) -> Format | str:
    if promised is None or not promised.is_text:
        archives.check(path, shown)
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            mimetype = archive.read("mimetype")[:200].decode("ascii", "replace").strip() if "mimetype" in names else ""
            parts = archive.read("[Content_Types].xml")[: 1 << 20] if "[Content_Types].xml" in names else b""
    except zipfile.BadZipFile:
        return "a damaged ZIP archive"
    if mimetype == "application/epub+zip" or "META-INF/container.xml" in names and not mimetype:
        return formats.EPUB
    if mimetype.startswith("application/vnd.oasis.opendocument"):
        return "an OpenDocument file"
    if b"wordprocessingml.document.main+xml" in parts:
        return formats.DOCX
    if b"presentationml.presentation.main+xml" in parts or b"powerpoint.presentation.macroEnabled.main+xml" in parts:
        return formats.PPTX
    if b"presentationml.slideshow.main+xml" in parts:
        return formats.PPTX
    if _WORKBOOK.search(parts):
        return formats.XLSX
    if b"ms-word." in parts or b"ms-excel." in parts or b"openxmlformats-officedocument" in parts:
        return "an Office file of a kind with macros, a template or a binary workbook"
    return "a ZIP archive (unpack it and send its files)"


def _binary(head: bytes) -> str | None:
    import filetype

    kind = filetype.guess(head)
    if kind is None:
        return None
    return f"a {kind.extension.upper()} {kind.mime.partition('/')[0]}".replace(" application", " file")


def _is_foreign(extension: str) -> bool:
    """Whether the extension is another format's; an archive's may be what a document was downloaded as."""
    import filetype

    if extension in ("", ".zip"):
        return False
    return any(kind.extension == extension[1:] for kind in filetype.TYPES) or extension in (".jpeg", ".rtf", ".odt")
