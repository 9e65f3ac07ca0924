"""From a question and candidates to prompts, and from an answer with marks to citations: pure, data in and data out."""

from fileintel.search.basic import plan_basic
from fileintel.search.calls import Call, check
from fileintel.search.citations import MarkStream, Resolved, resolve
from fileintel.search.drift import plan_drift
from fileintel.search.global_ import parse_points, plan_global
from fileintel.search.local import plan_local
from fileintel.search.plan import Plan, Reduce, final_request
from fileintel.search.prompts import REFUSAL
from fileintel.search.refusal import is_refusal
from fileintel.search.routing import Route, route
from fileintel.search.selection import communities_at, select

__all__ = [
    "REFUSAL",
    "Call",
    "MarkStream",
    "Plan",
    "Reduce",
    "Resolved",
    "Route",
    "check",
    "communities_at",
    "final_request",
    "is_refusal",
    "parse_points",
    "plan_basic",
    "plan_drift",
    "plan_global",
    "plan_local",
    "resolve",
    "route",
    "select",
]
