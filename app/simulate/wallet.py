"""What is shown and scanned: personal codes, the codes on walls, cards, and the devices' own keys.

Everything is derived from the server's secrets, so the same world has the same codes and keys each time, and nobody
without the key file can make them.
"""

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.simulate.people import Person, Shows
from app.simulate.plan import DAY_MS, local_midnight
from app.simulate.world import World
from keys.codes import CODE_NONCE_BYTES, issue_person_code, issue_place_code
from keys.pseudonyms import pseudonym_of_citizen, pseudonym_of_vehicle
from keys.secrets import ServerSecrets

PAPER_ISSUED_BEFORE_DAYS: Final = 30
PAPER_LASTS_DAYS: Final = 180
_DEVICE_DOMAIN: Final = b"truyvet/simulated-device/v1\0"
_NONCE_DOMAIN: Final = b"truyvet/simulated-code/v1\0"

Who = int | str
"""A person's number or a car's plate."""


class Wallet:
    """Issues each code once and remembers it."""

    def __init__(self, world: World, secrets: ServerSecrets) -> None:
        self._secrets: Final = secrets
        self._born: Final = world.plan.midnights[0] - PAPER_ISSUED_BEFORE_DAYS * DAY_MS
        key = secrets.pseudonym_key
        self._people: Final = {person.number: person for person in world.people}
        self._subjects: Final[dict[Who, bytes]] = {
            **{person.number: pseudonym_of_citizen(person.citizen_number, key) for person in world.people},
            **{plate: pseudonym_of_vehicle(plate, key) for plate in world.drives},
        }
        self._by_pseudonym: Final = {subject.hex(): who for who, subject in self._subjects.items()}
        self._codes: Final[dict[tuple[Who, int], str]] = {}
        self._walls: Final[dict[str, str]] = {}

    def pseudonym(self, who: Who) -> str:
        """Who it is in the log: 32 hex digits."""
        return self._subjects[who].hex()

    def who(self, pseudonym: str) -> Who | None:
        """The reverse; None for somebody of another world."""
        return self._by_pseudonym.get(pseudonym)

    def person(self, number: int) -> Person:
        """The person of a number."""
        return self._people[number]

    def code(self, who: Who, at: int, *, stale: bool) -> str:
        """The code that was on show at that time, without the signature, which scanners leave off."""
        if isinstance(who, int) and self._people[who].shows is Shows.DAILY:
            midnight = local_midnight(at) - (DAY_MS if stale else 0)
            return self._issued(who, midnight, midnight + DAY_MS)
        return self._issued(who, self._born, self._born + PAPER_LASTS_DAYS * DAY_MS)

    def wall(self, place: str) -> str:
        """The code on a place's wall."""
        if place not in self._walls:
            self._walls[place] = issue_place_code(self._secrets, place, issued=self._born, expires=None)
        return self._walls[place]

    def device_key(self, device: str) -> Ed25519PrivateKey:
        """A simulated device's private key."""
        seed = hmac.digest(self._secrets.pseudonym_key, _DEVICE_DOMAIN + device.encode(), "sha256")
        return Ed25519PrivateKey.from_private_bytes(seed)

    def _issued(self, who: Who, issued: int, expires: int) -> str:
        if (who, issued) not in self._codes:
            subject, vehicle = self._subjects[who], isinstance(who, str)
            text = issue_person_code(
                self._secrets,
                subject,
                vehicle=vehicle,
                issued=issued,
                expires=expires,
                nonce=self._nonce(subject, issued, expires),
            )
            self._codes[who, issued] = text[: text.rindex(".")]
        return self._codes[who, issued]

    def _nonce(self, subject: bytes, issued: int, expires: int) -> bytes:
        """Derived from everything that is sealed under it, so that no nonce ever seals two different codes."""
        message = _NONCE_DOMAIN + subject + issued.to_bytes(8, "big") + expires.to_bytes(8, "big")
        return hashlib.blake2b(message, key=self._secrets.pseudonym_key, digest_size=CODE_NONCE_BYTES).digest()
