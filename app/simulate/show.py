"""The demonstration's tables. Times are Vietnam's, pseudonyms are shortened."""

import datetime
from collections.abc import Sequence, Set
from itertools import groupby
from typing import Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from app.clock import shown_seconds
from app.simulate.plan import VIETNAM
from app.simulate.presence import Blur
from app.simulate.verdict import Agreement
from app.terminal import short
from events.cases import Case
from events.places import Place, PlaceTree
from projections.stays import EntryKnown, ExitKnown, Stay
from tracing.answer import Answer, AnsweredContact
from tracing.overlap import Encounter
from tracing.proof import Proof

CONTACTS_SHOWN: Final = 12
ENCOUNTERS_SHOWN: Final = 5
PLACES_NAMED: Final = 2

ENTRY_WORDS: Final = {EntryKnown.MEASURED: "scanned in", EntryKnown.IMPUTED: "entry missed"}
EXIT_WORDS: Final = {
    ExitKnown.MEASURED: "scanned out",
    ExitKnown.MOVED: "moved on",
    ExitKnown.DWELL: "no exit",
    ExitKnown.OPEN: "still there",
}


def when(ms: int) -> str:
    """A time in Vietnam, to the minute; the tables' headings name the zone."""
    return datetime.datetime.fromtimestamp(ms / 1000, VIETNAM).strftime("%d %b %H:%M")


class Names:
    """Places by id, as people call them."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._tree: Final = PlaceTree(places)

    def of(self, place_id: str) -> str:
        """A room with its building, a building alone."""
        place = self._tree.by_id[place_id]
        return place.name if place.parent is None else f"{place.name}, {self._tree.by_id[place.parent].name}"

    def innermost(self, place_ids: Set[str]) -> set[str]:
        """Those that hold none of the others."""
        return set(place_ids).difference(*(self._tree.ancestors(place_id) for place_id in place_ids))


def contacts_table(contacts: Sequence[AnsweredContact], names: Names) -> Table:
    """The longest contacts, one a row."""
    table = Table(
        title=f"F1: {len(contacts):,} contacts, longest first; times in UTC+7",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        expand=True,
    )
    table.add_column("contact", width=9)
    table.add_column("together", width=11, justify="right")
    table.add_column("places", ratio=1, no_wrap=True)
    for heading, width in (("first", 12), ("last", 12), ("known", 5), ("scans", 5)):
        table.add_column(heading, width=width, justify="right")
    for contact in contacts[:CONTACTS_SHOWN]:
        table.add_row(
            short(contact.subject),
            shown_seconds(contact.seconds),
            _places(contact, names),
            when(contact.first),
            when(contact.last),
            f"{_measured_share(contact):.0%}",
            str(len(_scans(contact))),
        )
    more = f"… and {len(contacts) - CONTACTS_SHOWN:,} more. " if len(contacts) > CONTACTS_SHOWN else ""
    table.caption = f"{more}Known: stays with both ends scanned; the rest ends by a later scan or the place's dwell."
    return table


def evidence_lines(contact: AnsweredContact, names: Names) -> Group:
    """Why one contact is one: an encounter at each of the places, with the scans that prove it."""
    first_at: dict[str, Encounter] = {}
    for met in contact.encounters:
        first_at.setdefault(met.place, met)
    lines = [Text(f"Why {short(contact.subject)}? {len(contact.encounters)} encounters, for example:", style="bold")]
    for met in list(first_at.values())[:ENCOUNTERS_SHOWN]:
        span = shown_seconds((met.end - met.start) / 1000)
        lines.append(Text(f"  {names.of(met.place)}, {when(met.start)} (UTC+7), {span}"))
        lines.append(Text(f"    F0       {_known(met.index_stay):<25} {_proved_by(met.index_stay)}", style="dim"))
        lines.append(Text(f"    contact  {_known(met.stay):<25} {_proved_by(met.stay)}", style="dim"))
    return Group(*lines, Text("  Rooms lie inside buildings: time shared in both counts once."))


def proof_lines(proof: Proof) -> Group:
    """What the proof of one scan says."""
    scan = proof.scan
    signed = when(proof.signed_at * 1000) if proof.signed_at is not None else "unknown"
    return Group(
        Text.assemble(
            "Proof of scan ", (f"{proof.device} #{proof.seq}", "bold"), ": ", (proof.verdict.value, "bold green")
        ),
        Text(f"  {scan.kind.value} at {when(scan.at)} (UTC+7), by {scan.how.value}; the log and the signed body agree"),
        Text(
            f"  Ed25519 signature of key {proof.key} over the whole batch, signed {signed} (UTC+7), verified again now"
        ),
    )


def question_line(case: Case, answer: Answer) -> Text:
    """What was asked, with the parameters that decide it."""
    asked = answer.question
    return Text(
        f"Case {case.id}, {short(case.subject)}, infectious {when(case.infectious_from)} to {when(case.infectious_to)}"
        f" (UTC+7); contacts of {shown_seconds(asked.min_seconds)} or more, rule {asked.rule.value},"
        f" as of {when(asked.as_of)} (UTC+7)."
    )


def agreement_line(agreed: Agreement) -> Text:
    """How the answer compares with what the scans say."""
    return Text(
        f"✔ {agreed.equal:,} of {agreed.expected:,} contacts equal the truth to the millisecond, nobody else is named.",
        style="bold green",
    )


def blur_lines(blur: Blur) -> Group:
    """How the answer compares with where people really were."""
    return Group(
        Text("And where people really were? Forgotten exits blur every check-in system:", style="bold"),
        Text(f"  contacts   {blur.found:,} of {blur.real:,} real ones are named (recall {blur.recall:.1%})"),
        Text(
            f"             {blur.invented:,} more are named who were not there long enough"
            f" (precision {blur.precision:.1%})"
        ),
        Text(f"  time       {blur.time_recall:.1%} of the time really spent together is in the answer,"),
        Text(f"             {blur.time_precision:.1%} of the answer's time is real"),
        Text(f"  household  {blur.household_found} of {blur.household} named, by other places: homes have no scanner"),
    )


def _places(contact: AnsweredContact, names: Names) -> str:
    """The innermost of the places where they met, longest first."""
    met: dict[str, int] = {}
    for one in contact.encounters:
        met[one.place] = met.get(one.place, 0) + one.end - one.start
    longest = sorted(names.innermost(met.keys()), key=lambda place: (-met[place], place))
    rest = len(longest) - PLACES_NAMED
    return "; ".join(names.of(place) for place in longest[:PLACES_NAMED]) + (f"; +{rest}" if rest > 0 else "")


def _measured_share(contact: AnsweredContact) -> float:
    stays = [stay for met in contact.encounters for stay in (met.index_stay, met.stay)]
    return sum(stay.entry is EntryKnown.MEASURED and stay.exit is ExitKnown.MEASURED for stay in stays) / len(stays)


def _known(stay: Stay) -> str:
    return f"{ENTRY_WORDS[stay.entry]}, {EXIT_WORDS[stay.exit]}"


def _scans(contact: AnsweredContact) -> set[tuple[str, int]]:
    return {scan for met in contact.encounters for stay in (met.index_stay, met.stay) for scan in stay.scans}


def _proved_by(stay: Stay) -> str:
    return " ".join(
        f"{device} {' '.join(f'#{seq}' for _, seq in scans)}"
        for device, scans in groupby(stay.scans, key=lambda scan: scan[0])
    )
