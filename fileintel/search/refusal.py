"""Telling an answer from a refusal."""

from __future__ import annotations

import re

from fileintel.search.prompts import REFUSAL

_MARK = re.compile(r"[\[【［]\s*\d")
_LONGEST = 400
_SUBJECT = (
    r"(?:(?:the|these|this|your|any of the)?\s*(?:provided|given|available|supplied|numbered|retrieved|above)?\s*"
    r"(?:sources?|documents?|texts?|context|information|data|excerpts?|passages?|collection|reports?))"
)
_OTHER_WORDS = re.compile(
    rf"""(?:
      (?:i\s+am\s+|i'm\s+|we\s+are\s+)?(?:sorry|unfortunately|afraid|apologi[sz]e\w*|regrettably)\b.{{0,40}}?
        (?:cannot|can't|can\s+not|unable|could\s+not|couldn't|do\s+not|don't|does\s+not|doesn't|not)\b
    | i\s+(?:cannot|can't|can\s+not|could\s+not|couldn't|am\s+unable\s+to|am\s+not\s+able\s+to)\s+
        (?:answer|find|determine|tell|say)\b
    | i\s+(?:do\s+not|don't)\s+(?:know|have\s+(?:enough|sufficient|any))\b
    | (?:based\s+on|from|in|according\s+to)\s+{_SUBJECT}.{{0,30}}?
        (?:cannot|can't|unable|no\s+(?:information|answer|mention|evidence))\b
    | {_SUBJECT}\s+(?:do|does|did)(?:\s+not|n't)\s+
        (?:contain|provide|include|hold|mention|say|state|specify|answer|give|address|offer)\b
    | there\s+is\s+(?:no|not\s+enough|insufficient)\s+(?:information|mention|evidence|data|answer)\b
    | (?:no|not\s+enough|insufficient)\s+(?:relevant\s+)?(?:information|data|evidence)\b
    | (?:this|the)\s+(?:question\s+)?(?:cannot|can't|can\s+not)\s+be\s+answered\b
    | none\s+of\s+(?:the\s+)?(?:provided\s+|numbered\s+)?(?:sources|documents)\b
    )""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def _normal(text: str) -> str:
    return " ".join(text.replace("’", "'").strip().lstrip("*_>#\"'“- ").split())


def is_refusal(text: str) -> bool:
    """Whether the answer says that the documents do not hold one (an empty answer says nothing and is one too).

    Our own line counts wherever an answer begins with it; other wordings only in a short answer without marks, since
    "the sources do not say X, but Y [2]" is an answer.
    """
    normal = _normal(text)
    if not normal or normal.casefold().startswith(REFUSAL.casefold()):
        return True
    if len(normal) > _LONGEST or _MARK.search(normal):
        return False
    return _OTHER_WORDS.match(normal) is not None
