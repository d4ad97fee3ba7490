"""Who asks, and what they may: bearer tokens, roles, and the table of permissions.

A token's text is `tvt_<id>_<secret>`; the registry keeps its SHA-256 alone, so a copy of the registry opens nothing.
Pure: the text, the registered tokens and the time go in, a token or a problem comes out.
"""

import base64
import enum
import hashlib
import hmac
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from events import problems
from events.access import Role, Token
from events.problems import ProblemError

TOKEN_PREFIX: Final = "tvt"
TOKEN_ID_BYTES: Final = 6
TOKEN_SECRET_BYTES: Final = 32
TOKEN_CHARACTERS_MAX: Final = 128
BEARER: Final = "bearer"


class Permission(enum.StrEnum):
    """One thing that somebody may do over HTTP."""

    PLACES_READ = "places:read"
    PLACES_WRITE = "places:write"
    DEVICES_READ = "devices:read"
    DEVICES_WRITE = "devices:write"
    LOG_READ = "log:read"
    CASES_READ = "cases:read"
    CASES_WRITE = "cases:write"
    TRACES = "traces"
    STAYS_READ = "stays:read"
    PROOFS_READ = "proofs:read"
    EXPORTS = "exports"
    AUDIT_READ = "audit:read"
    RETENTION_READ = "retention:read"
    RETENTION_RUN = "retention:run"
    OCCUPANCY_READ = "occupancy:read"
    CLUSTERS_READ = "clusters:read"
    PEOPLE_READ = "people:read"
    PEOPLE_WRITE = "people:write"
    HEALTH_WRITE = "health:write"
    NAMES_WRITE = "names:write"
    NAMES_REVEAL = "names:reveal"
    REVEALS_DECIDE = "reveals:decide"
    NAMES_ERASE = "names:erase"
    ACCESS_LOG_READ = "accesses:read"


ROLE_PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {
        Role.ADMIN: frozenset(Permission),
        Role.ANALYST: frozenset(
            {
                Permission.PLACES_READ,
                Permission.DEVICES_READ,
                Permission.CASES_READ,
                Permission.CASES_WRITE,
                Permission.TRACES,
                Permission.STAYS_READ,
                Permission.PROOFS_READ,
                Permission.RETENTION_READ,
                Permission.OCCUPANCY_READ,
                Permission.CLUSTERS_READ,
                Permission.EXPORTS,
                Permission.PEOPLE_READ,
                Permission.PEOPLE_WRITE,
                Permission.HEALTH_WRITE,
                Permission.NAMES_WRITE,
                Permission.NAMES_REVEAL,
                Permission.REVEALS_DECIDE,
            }
        ),
        Role.OFFICER: frozenset(
            {
                Permission.PLACES_READ,
                Permission.DEVICES_READ,
                Permission.CASES_READ,
                Permission.PEOPLE_READ,
                Permission.OCCUPANCY_READ,
                Permission.ACCESS_LOG_READ,
            }
        ),
        Role.VIEWER: frozenset({Permission.PLACES_READ, Permission.DEVICES_READ, Permission.OCCUPANCY_READ}),
    }
)


def roles_with(permission: Permission) -> tuple[Role, ...]:
    """The roles that hold a permission, in the enum's order."""
    return tuple(role for role in Role if permission in ROLE_PERMISSIONS[role])


def new_token(name: str, role: Role, expires: int, random: Callable[[int], bytes]) -> tuple[str, Token]:
    """A new token's text, to be shown once, and what the registry keeps of it. `expires` in Unix ms."""
    token_id = random(TOKEN_ID_BYTES).hex()
    secret = base64.urlsafe_b64encode(random(TOKEN_SECRET_BYTES)).rstrip(b"=").decode()
    text = f"{TOKEN_PREFIX}_{token_id}_{secret}"
    return text, Token(id=token_id, name=name, role=role, sha256=_digest(text), expires=expires)


def authenticated(authorization: str | None, tokens_by_sha256: Mapping[bytes, Token], now_ms: int) -> Token:
    """The token that an Authorization header carries. Raises TOKEN_MISSING or TOKEN_INVALID as `ProblemError`.

    Unknown, expired and revoked look alike from outside. The index is asked by digest, which tells a guesser
    nothing about the secret; the comparison itself takes the same time whatever it finds.
    """
    scheme, _, text = (authorization or "").strip().partition(" ")
    text = text.strip()
    if scheme.lower() != BEARER or not text:
        raise ProblemError(problems.TOKEN_MISSING.problem())
    if len(text) > TOKEN_CHARACTERS_MAX:
        raise ProblemError(problems.TOKEN_INVALID.problem())
    digest = _digest(text)
    token = tokens_by_sha256.get(digest)
    if token is None or not hmac.compare_digest(token.sha256, digest) or token.revoked or now_ms >= token.expires:
        raise ProblemError(problems.TOKEN_INVALID.problem())
    return token


def require(token: Token, permission: Permission) -> None:
    """Raises ROLE_FORBIDDEN as `ProblemError` where the token's role lacks the permission."""
    if permission not in ROLE_PERMISSIONS[token.role]:
        raise ProblemError(problems.ROLE_FORBIDDEN.problem(f"The role {token.role} lacks {permission}."))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
