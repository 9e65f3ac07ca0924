"""Bytes to pages to text units: every format FileIntel reads, behind `parse`, `parse_in_limits` and `split`."""

from fileintel.documents.limits import parse_in_limits, start_parsing_process
from fileintel.documents.reading import parse
from fileintel.documents.splitting import split

__all__ = ["parse", "parse_in_limits", "split", "start_parsing_process"]
