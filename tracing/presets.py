"""Named rules of contact as data, each with its words and its source: what other systems and authorities counted.

A preset fills in what a question leaves open; what the question says itself counts. None of them is a copy: `near`
says where this service counts otherwise.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from events.places import CATEGORY_DWELL_SECONDS, DWELL_SECONDS_MIN, HOUR_SECONDS, MINUTE_SECONDS, Category
from tracing.rule import Rule


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """What decides who is a contact, whoever is asked about; None or a category left out: not said here.

    `dwell_seconds` overrides how long somebody is taken to remain who never scans out, for every place of a category.
    """

    lag_seconds: int | None = None
    min_seconds: int | float | None = None
    rule: Rule | None = None
    depth: int | None = None
    latency_seconds: int | None = None
    dwell_seconds: dict[Category, int] = {}


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """Where a preset comes from. Without a URL it is this project's own."""

    title: str
    url: str | None = None


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A named rule: what it says in words, its parameters, where it comes from, and what is only near to that."""

    name: str
    words: str
    parameters: Parameters
    near: str
    source: Citation


ANY_SECONDS: Final = 0.001
"""The shortest exposure there is: a millisecond."""

_PRESETS: Final = (
    Preset(
        name="pc-covid",
        words="Scanned at the same place within 60 minutes before or after the case was.",
        parameters=Parameters(
            lag_seconds=0,
            min_seconds=ANY_SECONDS,
            rule=Rule.ENCOUNTER,
            dwell_seconds=dict.fromkeys(Category, HOUR_SECONDS),
        ),
        near=(
            "Equal where everybody is scanned once, on entering: each scan counts for 60 minutes, so two stays meet"
            " exactly where the scans lie less than 60 minutes apart. PC-Covid compared the times of scans alone. Here"
            " an exit, or a scan elsewhere, ends the stay before its 60 minutes are over, so that fewer may be named; a"
            " second scan at the place prolongs it, and an exit without an entry counts for the 60 minutes before it,"
            " so that others may be named who were scanned more than an hour apart."
        ),
        source=Citation(
            title="PC-Covid sắp có tính năng phát cảnh báo tới người có nguy cơ tiếp xúc F0 (Soha, 17 January 2022)",
            url="https://soha.vn/pc-covid-sap-co-tinh-nang-phat-canh-bao-toi-nguoi-co-nguy-co-tiep-xuc-f0-20220117150744236.htm",
        ),
    ),
    Preset(
        name="corona-warn-app",
        words="At least 10 minutes at the same place, counting 30 minutes after the case left.",
        parameters=Parameters(
            lag_seconds=30 * MINUTE_SECONDS, min_seconds=10 * MINUTE_SECONDS, rule=Rule.ENCOUNTER, dwell_seconds={}
        ),
        near=(
            "Equal in the threshold of one check-in and, for stays of half an hour and more, in the lag. The app"
            " prolonged a shorter stay by its own length only, left out a case's check-ins of less than 10 minutes,"
            " weighed every minute by the case's risk of transmission that day (0 to 1.6), and warned as well where"
            " the weighed minutes of several check-ins of one day came to 10. Here every minute counts once."
        ),
        source=Citation(
            title="Corona-Warn-App server: presence-tracing-parameters.yaml",
            url="https://github.com/corona-warn-app/cwa-server/blob/main/services/distribution/src/main/resources/main-config/v2/presence-tracing-parameters.yaml",
        ),
    ),
    Preset(
        name="fifteen-minutes",
        words="15 minutes or more in all, however many encounters they are made of.",
        parameters=Parameters(lag_seconds=0, min_seconds=15 * MINUTE_SECONDS, rule=Rule.TOTAL, dwell_seconds={}),
        near=(
            "Equal in the threshold and in adding encounters up. The definition asks for less than 6 feet (1.8 m) of"
            " distance, where this service knows that the place was the same; and for 15 minutes within 24 hours,"
            " where this service adds up the whole window: give a window of a day to ask for that."
        ),
        source=Citation(
            title="What is a close contact? (University of Michigan, quoting the CDC's definition)",
            url="https://healthresponse.umich.edu/faqs/what-is-a-close-contact/",
        ),
    ),
    Preset(
        name="half-dwell",
        words="15 minutes in all, where whoever never scans out is taken to remain half as long as usual.",
        parameters=Parameters(
            min_seconds=15 * MINUTE_SECONDS,
            rule=Rule.TOTAL,
            dwell_seconds={
                category: max(dwell // 2, DWELL_SECONDS_MIN) for category, dwell in CATEGORY_DWELL_SECONDS.items()
            },
        ),
        near=(
            "Nobody's rule, but a question: how much of a list rests on how long people are taken to remain? Half of"
            " each category's own dwell, for every place of the category, also where the place has one of its own."
        ),
        source=Citation(title="The categories' dwells of this release, halved"),
    ),
)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({preset.name: preset for preset in _PRESETS})
"""Every preset by name, in the order in which they are shown."""
