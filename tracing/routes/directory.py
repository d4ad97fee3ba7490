"""The directory of names: enter line lists, erase people, and tell a person who looked at them."""

import datetime
from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.params import RawBody

from events import problems
from events.devices import Pseudonym
from events.problems import ProblemError
from keys.pseudonyms import NotPseudonymous, pseudonym_of_citizen
from tracing.access import Permission
from tracing.audit import Action, purpose_of
from tracing.cursor import PAGE_ITEMS_DEFAULT, Cursor, Limit
from tracing.decoding import decode_body
from tracing.directory.line_list import DICTIONARY, ROWS_MAX, parse
from tracing.line_files import RowError, WrongHeader
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, Parts, reply
from tracing.people.health import ERRORS_MAX
from tracing.routes.people import Dictionary

DAY_MS: Final = 86_400_000
SUBJECT_EXAMPLE: Final = "5f0c2a9be1d34c7788aa01b2c3d4e5f6"


class NamesImport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lines of a CSV file, each request with the header line. `dry_run` checks them and keeps nothing."""

    csv: str
    dry_run: bool = False
    purpose: str = ""


class NamesImported(msgspec.Struct, frozen=True, kw_only=True):
    """How many people are new, have another record than before, or stay as they were; what is wrong with the others."""

    new: int
    changed: int
    unchanged: int
    wrong: int
    errors: list[RowError]
    dry_run: bool


class EraseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose name is erased for good, by pseudonym or citizen number. `confirm` must be true."""

    subject: Pseudonym | None = None
    citizen_number: str | None = None
    confirm: bool = False
    purpose: str = ""


class ReadmitRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who was erased and may be entered anew, by pseudonym or citizen number."""

    subject: Pseudonym | None = None
    citizen_number: str | None = None
    purpose: str = ""


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """Whether there was a key to destroy. Without one the person counts as erased all the same."""

    erased: bool


class Readmitted(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the person had been erased."""

    readmitted: bool


class AccessLogRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose log is wanted, by pseudonym or citizen number, and which page of it."""

    subject: Pseudonym | None = None
    citizen_number: str | None = None
    limit: Limit = PAGE_ITEMS_DEFAULT
    cursor: Cursor | None = None
    purpose: str = ""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody looked at the person, or asked for a trace that names them: when (Unix ms), who, what, why.

    `number` is the entry's in the audit log; `object` the saved trace, case or device that it concerns, or empty.
    """

    number: int
    at: int
    actor: str
    role: str
    action: str
    object: str
    purpose: str


class AccessLog(msgspec.Struct, frozen=True):
    """A page of it, newest first; `next` is the cursor of the page after, null on the last."""

    items: list[Access]
    next: str | None


class KeyCount(msgspec.Struct, frozen=True, kw_only=True):
    """A directory key by its number, and how many people's keys it wraps."""

    kid: int
    people: int


class DirectoryKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The directory key in use, and how many people's keys each one wraps.

    `broken`: how many of those under older ones could not be unwrapped since the service started.
    """

    current: int
    keys: list[KeyCount]
    broken: int = 0


COLUMNS: Final = Operation(
    name="list_name_columns",
    tag="Names",
    summary="The data dictionary of line lists",
    permission=Permission.NAMES_WRITE,
    successes=(Success(200, "The columns", Dictionary),),
)
IMPORT: Final = Operation(
    name="import_names",
    tag="Names",
    summary="Enter a line list into the directory",
    text=(
        f"CSV, up to {ROWS_MAX:,} lines a request; `GET /v1/people/columns` is its data dictionary. Good lines are"
        f" entered, each wrong one is told with its line and column, the first {ERRORS_MAX} of them. Safe to repeat."
        " Records are sealed, each under its person's own key. Recorded in the audit log."
    ),
    permission=Permission.NAMES_WRITE,
    person=True,
    body=NamesImport,
    example=NamesImport(
        csv=",".join(column.name for column in DICTIONARY)
        + "\n"
        + ",".join(f'"{column.example}"' for column in DICTIONARY)
        + "\n",
        purpose="Line list of the quarantine area",
    ),
    successes=(Success(200, "What became of the lines", NamesImported),),
    problems=(problems.IMPORT_UNREADABLE,),
)
ERASE: Final = Operation(
    name="erase_person",
    tag="Names",
    summary="Erase somebody's name, for good",
    text=(
        "Destroys the person's key, so that their sealed record is noise wherever copies of it lie, in backups as well."
        " It cannot be undone, and no later import brings them back unless they are readmitted. Recorded in the"
        " audit log."
    ),
    permission=Permission.NAMES_ERASE,
    person=True,
    body=EraseRequest,
    example=EraseRequest(subject=SUBJECT_EXAMPLE, confirm=True, purpose="Request of the person, file 2021/114"),
    successes=(Success(200, "The person is erased", Erased),),
    problems=(problems.ERASURE_UNCONFIRMED,),
)
READMIT: Final = Operation(
    name="readmit_person",
    tag="Names",
    summary="Let somebody who was erased be entered anew",
    text="What was erased stays erased; a later import may enter them again. Recorded in the audit log.",
    permission=Permission.NAMES_ERASE,
    person=True,
    body=ReadmitRequest,
    example=ReadmitRequest(subject=SUBJECT_EXAMPLE, purpose="A contact again, in another outbreak"),
    successes=(Success(200, "They may be entered", Readmitted),),
)
ACCESS_LOG: Final = Operation(
    name="read_access_log",
    tag="Names",
    summary="Who looked at this person, when, why",
    text=(
        "On the person's own request. Every entry of the audit log that names them by their tag, and every one about a"
        " saved trace that names them. Itself recorded in the audit log."
    ),
    permission=Permission.ACCESS_LOG_READ,
    person=True,
    body=AccessLogRequest,
    example=AccessLogRequest(subject=SUBJECT_EXAMPLE, purpose="Request of the person, file 2021/115"),
    successes=(Success(200, "A page of the person's log", AccessLog),),
    problems=(problems.QUESTION_INVALID,),
)
KEYS: Final = Operation(
    name="count_directory_keys",
    tag="Names",
    summary="How many people's keys each directory key wraps",
    text="After a rotation all are wrapped anew; once none hangs on an old key, it can be destroyed.",
    permission=Permission.NAMES_ERASE,
    successes=(Success(200, "The counts", DirectoryKeys),),
    problems=(problems.STORE_DOWN,),
)


@get("/v1/people/columns", opt={OPERATION: COLUMNS}, sync_to_thread=False)
def list_name_columns() -> Response[bytes]:
    """The data dictionary."""
    return reply(Dictionary(columns=DICTIONARY))


@post("/v1/people/import", opt={OPERATION: IMPORT}, status_code=200, sync_to_thread=True)
def import_names(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Enter the good lines, say what is wrong with the others."""
    asked = decode_body(body, request.headers.get("content-type", ""), NamesImport)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    now = parts.clock()
    year = datetime.datetime.fromtimestamp((now + DAY_MS) / 1000, datetime.UTC).year
    try:
        listed = parse(asked.csv, parts.secrets.pseudonym_key, year)
    except WrongHeader as error:
        raise ProblemError(problems.IMPORT_UNREADABLE.problem(f"{error}.", pointer="/csv")) from None
    found = parts.directory.examined(listed.entries)
    entering = [*found.new, *found.changed]
    # A dry run is recorded, too: it tells of each person whether they are known, and whether it guessed their record.
    people = [entry.subject.hex() for entry in listed.entries]
    count = "0 people (dry run)" if asked.dry_run else f"{len(entering)} people"
    parts.audit.write(now, request.auth, Action.NAMES_IMPORTED, count, purpose, people=people)
    if not asked.dry_run:
        parts.directory.enter(entering)
    errors = sorted([*listed.errors, *found.errors], key=lambda error: error.line)
    return reply(
        NamesImported(
            new=len(found.new),
            changed=len(found.changed),
            unchanged=found.unchanged,
            wrong=len(errors),
            errors=errors[:ERRORS_MAX],
            dry_run=asked.dry_run,
        )
    )


@post("/v1/people/erase", opt={OPERATION: ERASE}, status_code=200, sync_to_thread=True)
def erase_person(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Destroy the person's key, after it is recorded who wanted it."""
    asked = decode_body(body, request.headers.get("content-type", ""), EraseRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    subject = _subject(parts, asked.subject, asked.citizen_number)
    if not asked.confirm:
        raise ProblemError(problems.ERASURE_UNCONFIRMED.problem(pointer="/confirm"))
    parts.audit.write(parts.clock(), request.auth, Action.PERSON_ERASED, "", purpose, people=[subject])
    return reply(Erased(erased=parts.directory.erase(bytes.fromhex(subject))))


@post("/v1/people/readmit", opt={OPERATION: READMIT}, status_code=200, sync_to_thread=True)
def readmit_person(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """Lift the mark that keeps lists from entering the person."""
    asked = decode_body(body, request.headers.get("content-type", ""), ReadmitRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    subject = _subject(parts, asked.subject, asked.citizen_number)
    parts.audit.write(parts.clock(), request.auth, Action.PERSON_READMITTED, "", purpose, people=[subject])
    return reply(Readmitted(readmitted=parts.directory.readmit(bytes.fromhex(subject))))


@post("/v1/people/access-log", opt={OPERATION: ACCESS_LOG}, status_code=200, sync_to_thread=True)
def read_access_log(request: Asked, body: RawBody, parts: Given) -> Response[bytes]:
    """A page of what was done about the person, after the look at it is recorded."""
    asked = decode_body(body, request.headers.get("content-type", ""), AccessLogRequest)
    purpose = purpose_of(asked.purpose, pointer="/purpose")
    subject = _subject(parts, asked.subject, asked.citizen_number)
    page = parts.audit.about(subject, parts.saved.naming(subject), asked.limit, asked.cursor)
    parts.audit.write(parts.clock(), request.auth, Action.ACCESS_LOG_READ, "", purpose, people=[subject])
    items = [
        Access(
            number=item.number,
            at=item.at,
            actor=item.actor,
            role=item.role,
            action=item.action,
            object=item.object,
            purpose=item.purpose,
        )
        for item in page.items
    ]
    return reply(AccessLog(items, page.next))


@get("/v1/directory/keys", opt={OPERATION: KEYS}, sync_to_thread=True)
def count_directory_keys(parts: Given) -> Response[bytes]:
    """How far a rotation has come."""
    keys = parts.secrets.directory_keys
    counts = [KeyCount(kid=kid, people=people) for kid, people in parts.directory.key_counts().items()]
    current = keys[-1].kid if keys else 0
    return reply(DirectoryKeys(current=current, keys=counts, broken=parts.directory.broken))


def _subject(parts: Parts, subject: str | None, citizen_number: str | None) -> str:
    """The one person who is named, by pseudonym. Raises BODY_INVALID as `ProblemError`, which never quotes a number."""
    if (subject is None) == (citizen_number is None):
        detail = "Name the person by pseudonym or by citizen number, one of the two."
        raise ProblemError(problems.BODY_INVALID.problem(detail, pointer="/subject"))
    if subject is not None:
        return subject
    try:
        return pseudonym_of_citizen(citizen_number or "", parts.secrets.pseudonym_key).hex()
    except NotPseudonymous as error:
        raise ProblemError(problems.BODY_INVALID.problem(f"{error}.", pointer="/citizen_number")) from None


ROUTES: Final = (
    list_name_columns,
    import_names,
    erase_person,
    readmit_person,
    read_access_log,
    count_directory_keys,
)
