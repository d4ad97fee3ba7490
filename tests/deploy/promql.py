"""As much of PromQL as rules and dashboards use here: which series an expression names, and by which labels."""

import re
from typing import Final

import msgspec

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE: Final = re.compile(r"\[[^\]]*\]")
_SELECTOR: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\}|\()?")
_MATCHER: Final = re.compile(rf"([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*({_STRING})")
_KEYWORDS: Final = frozenset({"and", "or", "unless", "bool", "offset"})


class Matcher(msgspec.Struct, frozen=True):
    """One condition of a selector: `label op "value"`."""

    label: str
    op: str
    value: str


class Selector(msgspec.Struct, frozen=True):
    """A series by name, with its conditions."""

    name: str
    matchers: tuple[Matcher, ...]


def selectors(expression: str) -> list[Selector]:
    """Every series that the expression names."""
    plain = _RANGE.sub("", _GROUPING.sub("", expression))
    found = []
    for name, rest in _SELECTOR.findall(_numbers_out(plain)):
        if rest == "(" or name in _KEYWORDS:
            continue
        matchers = tuple(Matcher(label, op, value[1:-1]) for label, op, value in _MATCHER.findall(rest))
        assert rest.count(",") + 1 >= len(matchers) >= (1 if rest else 0), expression
        found.append(Selector(name, matchers))
    return found


def labels_named(expression: str) -> set[str]:
    """The labels that it groups or joins by."""
    return {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",") if label.strip()}


def _numbers_out(expression: str) -> str:
    """Without numbers such as 1e-9, whose exponent would look like a name; strings keep theirs."""
    parts = re.split(f"({_STRING})", expression)
    return "".join(part if part.startswith('"') else re.sub(r"(?<![\w:])[0-9][0-9.a-z-]*", "", part) for part in parts)
