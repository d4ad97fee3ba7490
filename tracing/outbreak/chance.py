"""How surprising it is that so many F0 met at one place or with one person, were they anybody. Pure.

Source: the hypergeometric distribution; its upper tail is Fisher's exact test, one-sided (R. A. Fisher, 1922), the
usual test of whether a group is found somewhere more often than chance explains.
"""

import math

import msgspec

LOG_DIGITS = 6
"""Decimals of a logarithm that is given out: what comes after differs between machines."""


class Chance(msgspec.Struct, frozen=True, kw_only=True):
    """Of `eligible` F0 who could have been here, `explained` were.

    Of `population` people who were scanned anywhere, `around` were scanned here. Drawn from them blindly, `expected` of
    the F0 would have been here; `lift` is how many times as many were, and `log10_chance` the decimal logarithm of the
    probability that at least as many are: −6 is one in a million.
    """

    explained: int
    eligible: int
    around: int
    population: int
    expected: float
    lift: float
    log10_chance: float


def chance(*, explained: int, eligible: int, around: int, population: int) -> Chance:
    """The chance from the counts. Those that contradict each other, as estimates may, are raised to what they imply."""
    around = max(around, explained, 1)
    population = max(population, around, eligible)
    expected = eligible * around / population
    return Chance(
        explained=explained,
        eligible=eligible,
        around=around,
        population=population,
        expected=round(expected, LOG_DIGITS),
        lift=round(explained / expected, LOG_DIGITS) if expected else 0.0,
        log10_chance=round(log10_at_least(explained, eligible, around, population), LOG_DIGITS) + 0.0,
    )


def log10_at_least(least: int, drawn: int, marked: int, population: int) -> float:
    """The decimal logarithm of P(X ≥ least), where X of `drawn` people out of `population` are among the `marked`.

    All from 0 on, `drawn` and `marked` at most `population`. −inf where it is impossible.
    """
    if least <= max(0, drawn + marked - population):
        return 0.0
    most = min(drawn, marked)
    if least > most:
        return -math.inf
    whole = _log_choose(population, drawn)
    terms = [
        _log_choose(marked, found) + _log_choose(population - marked, drawn - found) - whole
        for found in range(least, most + 1)
    ]
    greatest = max(terms)
    total = greatest + math.log(math.fsum(math.exp(term - greatest) for term in terms))
    return min(total / math.log(10), 0.0)


def _log_choose(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)
