"""What a scanner's operator reads for each verdict: what happened, and what to do at the door."""

from types import MappingProxyType
from typing import Final

from events.scans import Refusal

DUPLICATE: Final = "known already; nothing to do"

REFUSAL_WORDS: Final = MappingProxyType(
    {
        Refusal.BAD_CODE: "this code is damaged or forged; ask for a fresh one",
        Refusal.WRONG_CODE: "this is another kind of code: scanners read people's codes, phones read places' codes",
        Refusal.UNKNOWN_ISSUER: "this code was issued by somebody else; ask for one of this service",
        Refusal.EXPIRED_CODE: "this code has expired; ask for a fresh one",
        Refusal.REVOKED_CODE: "this code was revoked; ask for a fresh one",
        Refusal.BAD_CITIZEN_NUMBER: "this cannot be a citizen number; type it in again",
        Refusal.BAD_SUBJECT: "this is no pseudonym; it has 32 hex digits",
        Refusal.SUBJECT_MISSING: "nobody was named; scan a code",
        Refusal.SUBJECT_AMBIGUOUS: "two names for one scan; send one",
        Refusal.SUBJECT_NOT_ALLOWED: "this device may not name people this way; scan a code, or ask for the permission",
        Refusal.UNKNOWN_PLACE: "this place is not registered; ask the administrator to register it",
        Refusal.PLACE_MISSING: "no place was named; scan the place's code",
        Refusal.PLACE_NOT_ALLOWED: "this device serves another place; use the device of this one",
        Refusal.TIME_OUT_OF_RANGE: "the time is too old or in the future; set the device's clock",
        Refusal.SEQ_REPEATED: "a number was used twice in one batch; report this to the maker of the scanner",
    }
)


def words(verdict: str) -> str:
    """The words of a verdict; one that this release does not know stands for itself."""
    if verdict == "duplicate":
        return DUPLICATE
    try:
        return REFUSAL_WORDS[Refusal(verdict)]
    except ValueError:
        return f"{verdict} (this release does not know it; update truyvet)"
