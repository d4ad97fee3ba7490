"""The server's own secrets, in generations that can be rotated without losing what older ones sealed."""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

SECRETS_FILE_VERSION: Final = 1
KEY_BYTES: Final = 32
KID_MAX: Final = 2**16 - 1

SecretKey = Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
HIDDEN: Final = "<hidden>"

ADVICE_RESTORE: Final = (
    "Restore the key file from its backup. Do not delete it: without it no sealed code, pseudonym or "
    "piece of evidence can ever be read again."
)


class SecretsError(ValueError):
    """The key file cannot be used. The message says what to do and holds nothing of the content."""


class Generation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One generation of keys, named by `kid` in all that it signed or sealed. `created` in Unix ms."""

    kid: Annotated[int, Meta(ge=1, le=KID_MAX)]
    created: Annotated[int, Meta(ge=0)]
    issuer_seed: SecretKey
    seal_key: SecretKey
    evidence_key: SecretKey

    def __repr__(self) -> str:
        return f"Generation(kid={self.kid}, created={self.created}, keys={HIDDEN})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The struct's own would show every field to rich's tracebacks."""
        return [("kid", self.kid), ("created", self.created), ("keys", HIDDEN)]


class DirectoryKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A master key of the directory of names: it wraps the people's own keys. `created` in Unix ms.

    Apart from the generations, because an old one is to be destroyed: what it wrapped is wrapped anew, and a copy of
    the people's keys from before opens nothing any more.
    """

    kid: Annotated[int, Meta(ge=1, le=KID_MAX)]
    created: Annotated[int, Meta(ge=0)]
    key: SecretKey

    def __repr__(self) -> str:
        return f"DirectoryKey(kid={self.kid}, created={self.created}, key={HIDDEN})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The struct's own would show every field to rich's tracebacks."""
        return [("kid", self.kid), ("created", self.created), ("key", HIDDEN)]


class ServerSecrets(msgspec.Struct, frozen=True):
    """All that the server must keep secret. `generations` has at least one; the newest is last.

    `pseudonym_key` has no generations: a new one would make strangers of all known subjects. `directory_keys`, the
    newest last, are empty in a file of a build that had no directory.
    """

    pseudonym_key: bytes
    generations: tuple[Generation, ...]
    directory_keys: tuple[DirectoryKey, ...] = ()

    @property
    def current(self) -> Generation:
        """The generation that signs and seals from now on."""
        return self.generations[-1]

    def generation(self, kid: int) -> Generation | None:
        """The generation of that number, or None."""
        return next((generation for generation in self.generations if generation.kid == kid), None)

    def issuer_public_keys(self) -> dict[int, bytes]:
        """kid → raw 32-byte Ed25519 public key: what an offline scanner needs, and nothing secret."""
        return {
            generation.kid: Ed25519PrivateKey.from_private_bytes(generation.issuer_seed).public_key().public_bytes_raw()
            for generation in self.generations
        }

    def __repr__(self) -> str:
        return f"ServerSecrets(pseudonym_key={HIDDEN}, kids={[one.kid for one in self.generations]})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The struct's own would show every field to rich's tracebacks."""
        return [("pseudonym_key", HIDDEN), ("generations", self.generations)]


class SecretsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The key file's JSON; byte strings are base64 (RFC 4648, section 4)."""

    version: int
    pseudonym_key: SecretKey
    generations: Annotated[tuple[Generation, ...], Meta(min_length=1, max_length=KID_MAX)]
    directory_keys: Annotated[tuple[DirectoryKey, ...], Meta(max_length=KID_MAX)] = ()

    def __repr__(self) -> str:
        return f"SecretsFile({HIDDEN})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The struct's own would show every field to rich's tracebacks."""
        return [("content", HIDDEN)]


def _new_generation(kid: int, random: Callable[[int], bytes], now_ms: int) -> Generation:
    return Generation(
        kid=kid,
        created=now_ms,
        issuer_seed=random(KEY_BYTES),
        seal_key=random(KEY_BYTES),
        evidence_key=random(KEY_BYTES),
    )


def new_secrets(random: Callable[[int], bytes], now_ms: int) -> ServerSecrets:
    """Fresh secrets of one generation. `random(n)` gives n unpredictable bytes (`secrets.token_bytes`)."""
    secrets = ServerSecrets(random(KEY_BYTES), (_new_generation(1, random, now_ms),))
    return with_new_directory_key(secrets, random, now_ms)


def with_new_directory_key(secrets: ServerSecrets, random: Callable[[int], bytes], now_ms: int) -> ServerSecrets:
    """The same secrets with one more master key of the directory, current from now on.

    Raises `SecretsError` after 65,535.
    """
    kid = secrets.directory_keys[-1].kid + 1 if secrets.directory_keys else 1
    if kid > KID_MAX:
        raise SecretsError(f"There were {KID_MAX} directory keys already: kid has two bytes. Do not rotate again.")
    fresh = DirectoryKey(kid=kid, created=now_ms, key=random(KEY_BYTES))
    return msgspec.structs.replace(secrets, directory_keys=(*secrets.directory_keys, fresh))


def without_old_directory_keys(secrets: ServerSecrets) -> ServerSecrets:
    """The same secrets with the newest master key of the directory alone. What older ones wrap is lost for good."""
    return msgspec.structs.replace(secrets, directory_keys=secrets.directory_keys[-1:])


def rotated(secrets: ServerSecrets, random: Callable[[int], bytes], now_ms: int) -> ServerSecrets:
    """The same secrets with one more generation and directory key, current from now on.

    Raises `SecretsError` after 65,535.

    Rotate before one generation issued 2³² personal codes, or sealed so many batches: beyond, the chance that a random
    96-bit AES-GCM nonce repeats passes 2⁻³² (NIST SP 800-38D, section 8.3).
    """
    kid = secrets.current.kid + 1
    if kid > KID_MAX:
        raise SecretsError(f"There are {KID_MAX} generations already: kid has two bytes. Do not rotate again.")
    generations = (*secrets.generations, _new_generation(kid, random, now_ms))
    return with_new_directory_key(msgspec.structs.replace(secrets, generations=generations), random, now_ms)


def secrets_to_bytes(secrets: ServerSecrets) -> bytes:
    """The key file's content: indented JSON, in the clear. Whoever reads it is the server."""
    file = SecretsFile(
        version=SECRETS_FILE_VERSION,
        pseudonym_key=secrets.pseudonym_key,
        generations=secrets.generations,
        directory_keys=secrets.directory_keys,
    )
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def secrets_from_bytes(data: bytes) -> ServerSecrets:
    """Reads what `secrets_to_bytes` wrote. Raises `SecretsError`."""
    try:
        file = msgspec.json.decode(data, type=SecretsFile)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # The cause is dropped on purpose: its text may quote the file.
        raise SecretsError(f"The key file is damaged or no key file of Truyvet. {ADVICE_RESTORE}") from None
    if file.version != SECRETS_FILE_VERSION:
        raise SecretsError(
            f"The key file has version {file.version}, this program reads version {SECRETS_FILE_VERSION}. "
            "Run the release of Truyvet that wrote it, or a newer one."
        )
    for kids in ([one.kid for one in file.generations], [one.kid for one in file.directory_keys]):
        if kids != sorted(set(kids)):
            raise SecretsError(f"The key file's generations are out of order or doubled. {ADVICE_RESTORE}")
    return ServerSecrets(file.pseudonym_key, file.generations, file.directory_keys)
