"""EPUB: the spine's chapters in order, through the HTML reader."""

from __future__ import annotations

import posixpath
import zipfile
from pathlib import Path
from urllib.parse import unquote

from lxml import etree

from fileintel.documents import formats, html
from fileintel.documents.composing import Composer
from fileintel.documents.text import one_line
from fileintel.errors import CorruptDocumentError, EncryptedDocumentError
from fileintel.model import ParsedDocument

_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
_CONTENTS_LABELS = ("cover", "title page", "titlepage")


def read(path: Path, shown: str) -> ParsedDocument:
    """The chapters in the spine's order; a chapter without headings goes by its name in the table of contents."""
    with zipfile.ZipFile(path) as archive:
        book = _Book(archive, shown)
        composer = Composer()
        for member in book.spine:
            soup = html.parsed(archive.read(member))
            heading = soup.find(["h1", "h2", "h3", "h4", "h5", "h6"])
            label = book.labels.get(member)
            if heading is None and label and label.casefold() not in _CONTENTS_LABELS:
                composer.heading(1, label, shown=label not in one_line(soup.get_text())[: len(label) + 200])
            html.compose(soup, composer)
    metadata = {"author": book.author} if book.author else {}
    return ParsedDocument(formats.EPUB.media_type, book.title, composer.sections(), metadata=metadata)


class _Book:
    """The package document of an EPUB: title, author, and the spine as names of the archive's members."""

    def __init__(self, archive: zipfile.ZipFile, shown: str) -> None:
        self._archive = archive
        self._shown = shown
        self._names = set(archive.namelist())
        rootfile = self._xml("META-INF/container.xml").find(".//{*}rootfile")
        if rootfile is None or not rootfile.get("full-path"):
            raise self._damaged("META-INF/container.xml names no package")
        opf = str(rootfile.get("full-path"))
        self._folder = posixpath.dirname(opf)
        package = self._xml(opf)
        self.title = self._said(package, "title")
        self.author = self._said(package, "creator")
        items = {str(item.get("id")): item for item in package.iterfind(".//{*}manifest/{*}item")}
        self.spine: list[str] = []
        for reference in package.iterfind(".//{*}spine/{*}itemref"):
            item = items.get(str(reference.get("idref")))
            if item is None or item.get("media-type") not in _PAGES or "nav" in (item.get("properties") or "").split():
                continue
            self.spine.append(self._member(str(item.get("href")), self._folder))
        if not self.spine:
            raise self._damaged("its package names no chapters")
        self._refuse_protected()
        self.labels = self._table_of_contents(items)

    def _damaged(self, how: str) -> CorruptDocumentError:
        return CorruptDocumentError(f"{self._shown} is damaged: {how}; send the file again")

    def _xml(self, member: str) -> etree._Element:
        if member not in self._names:
            raise self._damaged(f"its part {one_line(member)} is missing")
        # No entities, no DTD, no network: a book from a stranger gets to name no file and to blow up no text.
        parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, recover=True)
        root = etree.fromstring(self._archive.read(member), parser)
        if root is None:
            raise self._damaged(f"{one_line(member)} is no XML")
        return root

    def _member(self, href: str, folder: str) -> str:
        """The member an href names; raises CorruptDocumentError when the book lacks it."""
        member = posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))
        if member not in self._names:
            raise self._damaged(f"its part {one_line(member)} is missing")
        return member

    @staticmethod
    def _said(package: etree._Element, name: str) -> str | None:
        found = package.find(f".//{{http://purl.org/dc/elements/1.1/}}{name}")
        return None if found is None else one_line("".join(str(text) for text in found.itertext())) or None

    def _refuse_protected(self) -> None:
        """Refuse a book whose chapters are encrypted; obfuscated fonts, which the same file lists, do no harm."""
        if "META-INF/encryption.xml" not in self._names:
            return
        for reference in self._xml("META-INF/encryption.xml").iterfind(".//{*}CipherReference"):
            if unquote(str(reference.get("URI"))) in self.spine:
                raise EncryptedDocumentError(f"{self._shown} is copy-protected (DRM); send a copy without protection")

    def _table_of_contents(self, items: dict[str, etree._Element]) -> dict[str, str]:
        """The name that the EPUB 3 or EPUB 2 table of contents gives each member first."""
        labels: dict[str, str] = {}
        for item in items.values():
            is_nav = "nav" in (item.get("properties") or "").split()
            if not is_nav and item.get("media-type") != "application/x-dtbncx+xml":
                continue
            member = posixpath.normpath(posixpath.join(self._folder, unquote(str(item.get("href")))))
            if member not in self._names:
                continue
            folder = posixpath.dirname(member)
            for href, text in self._entries(member, is_nav):
                target = posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))
                labels.setdefault(target, text)
        return labels

    def _entries(self, member: str, is_nav: bool) -> list[tuple[str, str]]:
        if is_nav:
            soup = html.parsed(self._archive.read(member))
            return [(str(link["href"]), one_line(link.get_text())) for link in soup.find_all("a", href=True)]
        entries = []
        for point in self._xml(member).iterfind(".//{*}navPoint"):
            content, text = point.find("{*}content"), point.findtext("{*}navLabel/{*}text")
            if content is not None and text:
                entries.append((str(content.get("src")), one_line(text)))
        return entries
