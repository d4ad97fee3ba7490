"""`truyvet device`: scanners and their keys."""

import base64
import binascii
import os
from pathlib import Path
from typing import Final

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from rich.table import Table

from app.clock import now_ms, shown
from app.commands.options import TIME
from app.field_words import fault_in_words
from app.registries import Registries, open_registries
from app.settings import Settings
from app.terminal import add_row, show
from events.devices import Device, DeviceKey
from keys import enrolment
from keys.enrolment import EnrolmentRefused

HOUR_SECONDS: Final = 3_600

key_file_option = click.option(
    "--key-file", type=click.Path(dir_okay=False, path_type=Path), help="Where the private key goes; default KEYID.pem."
)
public_key_option = click.option(
    "--public-key", metavar="BASE64", help="The device made its key pair itself: the 32 bytes of its public key."
)


@click.group()
def device() -> None:
    """Enrol scanners, rotate and revoke their keys. Every request of a scanner is signed by its own key.

    \b
    Example:
      truyvet device enrol gate-1 --place market
    """


@device.command()
@click.argument("device_id", metavar="ID")
@click.option("--place", "place_id", metavar="ID", help="The place that the scanner serves.")
@click.option("--subject", metavar="PSEUDONYM", help="The device is this person's own phone.")
@click.option("--label", default="", help="What people call it.")
@click.option("--may-citizen-number", is_flag=True, help="May name people by citizen number (an officer's device).")
@click.option("--may-subject", is_flag=True, help="May name people by bare pseudonym (simulations and imports).")
@key_file_option
@public_key_option
@click.pass_obj
def enrol(
    settings: Settings,
    *,
    device_id: str,
    place_id: str | None,
    subject: str | None,
    label: str,
    key_file: Path | None,
    public_key: str | None,
    may_citizen_number: bool,
    may_subject: bool,
) -> None:
    """Register device ID with its first key and print the keyid.

    Makes a key pair and writes the private key to a file that only you can read, unless --public-key is given.

    \b
    Example:
      truyvet device enrol gate-1 --place market --key-file gate-1.pem
    """
    if (place_id is None) == (subject is None):
        raise click.UsageError("Give --place for a scanner or --subject for a person's phone.")
    with open_registries(settings) as registries:
        registry = registries.registry
        if registry.keyring.device(device_id) is not None:
            raise click.ClickException(f"{device_id!r} is enrolled. A new key: truyvet device rotate {device_id}.")
        if place_id is not None and place_id not in registry.places().by_id:
            raise click.ClickException(f"No place has the id {place_id!r}. `truyvet place list` shows them.")
        try:
            one = msgspec.convert(
                {
                    "id": device_id,
                    "number": 0,
                    "label": label,
                    "place": place_id,
                    "subject": subject,
                    "may_citizen_number": may_citizen_number,
                    "may_subject": may_subject,
                },
                Device,
            )
        except msgspec.ValidationError as error:
            words = fault_in_words(error, {"id": device_id, "label": label, "subject": subject})
            raise click.ClickException(f"Nothing was enrolled: {words}.") from None
        keyid = f"{device_id}.{enrolment.FIRST_KEY}"
        public, file = _public_key(public_key, key_file or Path(f"{keyid}.pem"))
        _require_own(registries, public, device_id)
        try:
            one = msgspec.structs.replace(one, number=registries.control.next_number("device"))
            registries.record(enrolment.enrolled(one, public, now_ms()))
        except EnrolmentRefused as error:
            raise click.ClickException(f"{error}.") from None
    _tell(keyid, file)


@device.command()
@click.argument("device_id", metavar="ID")
@click.option(
    "--overlap-hours",
    type=click.IntRange(0, 2_160),
    default=enrolment.OVERLAP_SECONDS_DEFAULT // HOUR_SECONDS,
    show_default=True,
    help="How long the keys before still sign.",
)
@key_file_option
@public_key_option
@click.pass_obj
def rotate(
    settings: Settings, device_id: str, overlap_hours: int, key_file: Path | None, public_key: str | None
) -> None:
    """Give device ID its next key; the old one still signs for a while, so that no stored scan is lost.

    \b
    Example:
      truyvet device rotate gate-1
    """
    with open_registries(settings) as registries:
        keys = _keys(registries, device_id)
        keyid = f"{device_id}.{max((key.key for key in keys), default=0) + 1}"
        public, file = _public_key(public_key, key_file or Path(f"{keyid}.pem"))
        _require_own(registries, public, device_id)
        try:
            events = enrolment.rotated(keys, public, now_ms(), overlap_seconds=overlap_hours * HOUR_SECONDS)
        except EnrolmentRefused as error:
            raise click.ClickException(f"{error}.") from None
        registries.record(events)
    _tell(keyid, file)


@device.command()
@click.argument("keyid")
@click.option("--from", "since", type=TIME, help="Untrusted from when on; default now.")
@click.option("--reason", default="", help="Why; no personal data, please.")
@click.pass_obj
def revoke(settings: Settings, keyid: str, since: int | None, reason: str) -> None:
    """Revoke KEYID. What the log received under it since --from no longer counts for any trace.

    Use the time from which the key may have been in other hands, not the time when you noticed. Of several
    revocations of a key the earliest time counts.

    \b
    Example:
      truyvet device revoke gate-1.1 --from 2021-10-21T08:00 --reason "stolen"
    """
    with open_registries(settings) as registries:
        key = registries.registry.keyring.key(keyid)
        if key is None:
            raise click.ClickException(f"No key is called {keyid!r}. `truyvet device list` shows them.")
        revoked_from = now_ms() if since is None else since
        if key.revoked_from is not None and key.revoked_from <= revoked_from:
            raise click.ClickException(
                f"{keyid} is revoked from {shown(key.revoked_from)} on already, and the earliest time counts."
                " To distrust it from an earlier time on, name that with --from."
            )
        registries.record(enrolment.revoked(key, revoked_from, reason))
    click.echo(f"{keyid} is revoked from {shown(revoked_from)} on.")


@device.command("list")
@click.pass_obj
def list_devices(settings: Settings) -> None:
    """List the devices with their keys.

    \b
    Example:
      truyvet device list
    """
    now = now_ms()
    table = Table("keyid", "label", "place", "valid from", "state")
    with open_registries(settings) as registries:
        keyring = registries.registry.keyring
        for one in keyring.devices():
            for key in keyring.keys_of(one.id):
                add_row(table, key.keyid, one.label, one.place or "(phone)", shown(key.valid_from), _state(key, now))
    show(table)


def _require_own(registries: Registries, public: bytes, device_id: str) -> None:
    holder = registries.registry.keyring.holder_of(public)
    if holder is not None and holder != device_id:
        raise click.ClickException(f"Device {holder!r} signs with this key. Make a key pair for each device.")


def _keys(registries: Registries, device_id: str) -> list[DeviceKey]:
    if registries.registry.keyring.device(device_id) is None:
        raise click.ClickException(f"No device has the id {device_id!r}. `truyvet device list` shows them.")
    return registries.registry.keyring.keys_of(device_id)


def _state(key: DeviceKey, now: int) -> str:
    if key.revoked_from is not None:
        return f"revoked from {shown(key.revoked_from)}"
    if key.valid_to is not None:
        return f"ends {shown(key.valid_to)}" if key.valid_to > now else "ended"
    return "in force"


def _public_key(public_key: str | None, file: Path) -> tuple[bytes, Path | None]:
    """The given public key's 32 bytes; or those of a new pair, and the file that holds its private half."""
    if public_key is not None:
        try:
            return base64.b64decode(public_key, validate=True), None
        except binascii.Error:
            raise click.UsageError("--public-key is not base64.") from None
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{file} exists and is not overwritten. Name another one with --key-file.") from None
    with os.fdopen(descriptor, "wb") as output:
        output.write(pem)
        output.flush()
        os.fsync(output.fileno())
    return private.public_key().public_bytes_raw(), file


def _tell(keyid: str, file: Path | None) -> None:
    click.echo(keyid)
    if file is not None:
        click.echo(f"Private key: {file} (mode 0600). Move it to the scanner and keep no copy.", err=True)
        click.echo(f"Try it: truyvet scan --key {file} --keyid {keyid} in CODE", err=True)
