"""What a build will ask of the LLM: arithmetic over what is remembered, known, and measured in earlier builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

EXTRACT, SUMMARIZE, REPORT = "extract_graph", "summarize_descriptions", "create_community_reports"
CLAIMS = "extract_covariates"
STEPS = (EXTRACT, CLAIMS, SUMMARIZE, REPORT)


@dataclass(frozen=True, slots=True)
class Ratios:
    """What builds have needed, per step: calls per text unit, tokens in and out per call; `source` says which."""

    calls_per_unit: Mapping[str, float]
    tokens_in: Mapping[str, float]
    tokens_out: Mapping[str, float]
    source: str


# Where no build has ended yet: rounded from builds of English prose in text units of 300 tokens by GraphRAG's default
# prompts. An order of magnitude, and said to be one.
DEFAULTS = Ratios(
    calls_per_unit={EXTRACT: 2.0, CLAIMS: 2.0, SUMMARIZE: 1.0, REPORT: 0.3},
    tokens_in={EXTRACT: 2400.0, CLAIMS: 1600.0, SUMMARIZE: 300.0, REPORT: 3500.0},
    tokens_out={EXTRACT: 500.0, CLAIMS: 200.0, SUMMARIZE: 100.0, REPORT: 700.0},
    source="defaults, as no build of this chat model has ended yet",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What completed builds spent on a step: `items` worked on in `units` text units, with `calls` made (whose tokens
    these are) and `remembered` ones."""

    units: int
    calls: int
    remembered: int
    tokens_in: int
    tokens_out: int


def ratios(measured: Mapping[str, Measured], source: str, beneath: Ratios) -> Ratios:
    """Ratios of measured builds; what they did not measure (a step without a call made) is taken from `beneath`."""
    per_unit, tokens_in, tokens_out = dict(beneath.calls_per_unit), dict(beneath.tokens_in), dict(beneath.tokens_out)
    for step, spent in measured.items():
        if spent.units:
            per_unit[step] = (spent.calls + spent.remembered) / spent.units
        if spent.calls:
            tokens_in[step] = spent.tokens_in / spent.calls
            tokens_out[step] = spent.tokens_out / spent.calls
    return Ratios(per_unit, tokens_in, tokens_out, source)


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """One step: all its `calls`, those of them `remembered`, and the tokens of the others; `basis` says from what."""

    step: str
    calls: int
    remembered: int
    tokens_in: int
    tokens_out: int
    exact: bool
    basis: str

    @property
    def to_make(self) -> int:
        """How many calls will be paid for."""
        return self.calls - self.remembered


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast calls are answered, in calls per second, and where that is known from."""

    calls_per_second: float
    basis: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A whole build's calls, tokens, cost and time; cost and seconds are None while prices or the rate are unknown."""

    steps: tuple[StepEstimate, ...]
    calls: int
    remembered: int
    to_make: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    seconds: float | None
    rate: Rate | None


@dataclass(slots=True)
class Tally:
    """Counts what a rehearsal of one step finds; tokens are those of the calls still to make."""

    remembered: int = 0
    to_make: float = 0.0
    tokens_in: float = 0.0
    heard: list[int] = field(default_factory=list)
    """tokens of the remembered answers"""

    def mean_heard(self) -> float | None:
        """Mean tokens of a remembered answer, None when none is or their server did not say."""
        told = [tokens for tokens in self.heard if tokens > 0]
        return sum(told) / len(told) if told else None


def step_estimate(
    step: str, tally: Tally, ratios_: Ratios, *, unknown_units: float = 0.0, scale: float = 1.0, basis: str
) -> StepEstimate:
    """Estimate a step from what was rehearsed, plus the calls that `unknown_units` not extracted yet will bring.

    `scale` blows a sample up. Answers are taken to be as long as the remembered ones, else as in `ratios_`.
    """
    further = unknown_units * ratios_.calls_per_unit[step]
    to_make = tally.to_make * scale + further
    remembered = tally.remembered * scale
    out = tally.mean_heard()
    if further:
        basis = f"{basis}; of the rest: {ratios_.source}" if basis else ratios_.source
    return StepEstimate(
        step=step,
        calls=round(to_make) + round(remembered),
        remembered=round(remembered),
        tokens_in=round(tally.tokens_in * scale + further * ratios_.tokens_in[step]),
        tokens_out=round(to_make * (ratios_.tokens_out[step] if out is None else out)),
        exact=not further and scale == 1.0,
        basis=basis,
    )


def extraction_further_calls(step: str, max_gleanings: int, mean_calls: float | None, ratios_: Ratios) -> float:
    """Calls a text unit makes beside its first: as remembered units did, else as in builds, else at their fewest."""
    if max_gleanings == 0:
        return 0.0
    if mean_calls is not None:
        return max(mean_calls - 1.0, 0.0)
    # A gleaning is always asked for; whether there is to be one more is a call of its own.
    fewest = 1.0 if max_gleanings == 1 else 2.0
    return max(ratios_.calls_per_unit[step] - 1.0, fewest)


def estimate(steps: Sequence[StepEstimate], *, price_input: float, price_output: float, rate: Rate | None) -> Estimate:
    """Add steps up; prices are per million tokens, both 0 meaning unknown."""
    tokens_in, tokens_out = sum(s.tokens_in for s in steps), sum(s.tokens_out for s in steps)
    to_make = sum(s.to_make for s in steps)
    priced = price_input > 0 or price_output > 0
    seconds = 0.0 if to_make == 0 else None if rate is None else to_make / rate.calls_per_second
    return Estimate(
        steps=tuple(steps),
        calls=sum(s.calls for s in steps),
        remembered=sum(s.remembered for s in steps),
        to_make=to_make,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost=(tokens_in * price_input + tokens_out * price_output) / 1e6 if priced else None,
        seconds=seconds,
        rate=rate,
    )


def asks_confirmation(
    to_make: int, cost: float | None, *, above_calls: int, above_cost: float, unread: int
) -> str | None:
    """Why a build is to be confirmed first, or None; a threshold of 0 asks nothing."""
    if not above_calls and not above_cost:
        return None
    if unread:
        return f"{unread} documents are not read yet, so that what the build will ask cannot be counted"
    if above_calls and to_make > above_calls:
        return f"about {to_make:,} LLM calls are to be made, above {above_calls:,} (FILEINTEL_CONFIRM_ABOVE_CALLS)"
    if above_cost and cost is not None and cost > above_cost:
        return f"it will cost about {cost:,.2f}, above {above_cost:g} (FILEINTEL_CONFIRM_ABOVE_COST)"
    return None
