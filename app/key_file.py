"""The file of the server's secrets: mode 0600, made once, never replaced by accident.

Losing it makes every printed code and every sealed evidence unreadable, and a fresh one would give every person a
new pseudonym; so a file that is missing although there is data stops the service instead of being made again.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.errors import Explained
from keys.secrets import (
    SecretsError,
    ServerSecrets,
    new_secrets,
    rotated,
    secrets_from_bytes,
    secrets_to_bytes,
    with_new_directory_key,
    without_old_directory_keys,
)

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
FILE_BYTES_MAX: Final = 1 << 20


class KeyFileError(Explained):
    """The key file cannot be used; the message names it and says what to do."""


def load(path: Path) -> ServerSecrets:
    """The secrets of an existing file. Raises `KeyFileError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeyFileError(
            f"There is no key file {path}. `truyvet migrate` (or `truyvet up`) makes it on a first run; for an existing"
            " service copy it from the machine that has it, or from your backup."
        ) from None
    except OSError as error:
        raise KeyFileError(
            f"The key file {path} cannot be opened ({error.strerror}). Make it a plain file of the service's user."
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        _check_mode(path, os.fstat(descriptor))
        data = file.read(FILE_BYTES_MAX)
    try:
        return secrets_from_bytes(data)
    except SecretsError as error:
        raise KeyFileError(f"The key file {path} is damaged: {error} Restore it from your backup.") from None


def load_or_create(path: Path, *, data_exists: bool, now_ms: int) -> ServerSecrets:
    """The secrets of the file, which is made where there is none and no data either. Raises `KeyFileError`."""
    if path.exists() or path.is_symlink():
        known = load(path)
        if known.directory_keys:
            return known
        return _replaced(path, lambda found: _with_directory(found, now_ms))
    if data_exists:
        raise KeyFileError(
            f"The key file {path} is missing, but there is data that needs it. Restore it from your backup: new keys"
            " would make every printed code void, every person a stranger and all evidence unreadable. To begin anew"
            " on purpose, move the data away first."
        )
    path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
    data = secrets_to_bytes(new_secrets(secrets.token_bytes, now_ms))
    with _written(path, data) as temporary:
        try:
            # A link fails where the name exists, so of two first runs at once one wins and both read its keys.
            os.link(temporary, path)
        except FileExistsError:
            return load(path)
    _sync_directory(path.parent)
    return load(path)


def rotate(path: Path, now_ms: int, random: Callable[[int], bytes] = secrets.token_bytes) -> ServerSecrets:
    """Add a generation of keys, and a directory key, to the file; return the new secrets. Raises `KeyFileError`."""
    return _replaced(path, lambda found: rotated(found, random, now_ms))


def retire_directory_keys(path: Path) -> ServerSecrets:
    """Take every directory key but the newest out of the file; return the new secrets. Raises `KeyFileError`."""
    return _replaced(path, without_old_directory_keys)


def _with_directory(found: ServerSecrets, now_ms: int) -> ServerSecrets:
    return found if found.directory_keys else with_new_directory_key(found, secrets.token_bytes, now_ms)


def _replaced(path: Path, change: Callable[[ServerSecrets], ServerSecrets]) -> ServerSecrets:
    """Put changed secrets into the file's place and return them. Raises `KeyFileError`."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC) if path.parent.is_dir() else None
    try:
        if directory is not None:
            fcntl.flock(directory, fcntl.LOCK_EX)  # two changes at once must not lose one
        fresh = change(load(path))
        with _written(path, secrets_to_bytes(fresh)) as temporary:
            temporary.replace(path)
        _sync_directory(path.parent)
    finally:
        if directory is not None:
            os.close(directory)
    return fresh


def _check_mode(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"The key file {path} is not a plain file. Put the file itself there.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise KeyFileError(
            f"The key file {path} has mode {mode:04o}, so that others may read it. Run: chmod 600 {path}. If others"
            " use this machine, take the keys as known to them and run: truyvet keys rotate."
        )


@contextmanager
def _written(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside `path` that holds the data on disk; removed at the end unless it was moved."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
