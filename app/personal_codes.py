"""A subject's personal code as commands issue it: good from now on, for some days."""

import secrets

from app.clock import DAY_MS
from events.cases import Subject, SubjectKind
from keys.codes import CODE_NONCE_BYTES, issue_person_code
from keys.secrets import ServerSecrets


def fresh_code(keys: ServerSecrets, one: Subject, *, now_ms: int, days: int) -> str:
    """The text of a new code, unlike every other one of the subject."""
    return issue_person_code(
        keys,
        bytes.fromhex(one.subject),
        vehicle=one.kind is SubjectKind.VEHICLE,
        issued=now_ms,
        expires=now_ms + days * DAY_MS,
        nonce=secrets.token_bytes(CODE_NONCE_BYTES),
    )
