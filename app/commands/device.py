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
from app.commands.impact_report import tell_impact
from app.commands.options import PURPOSE, TIME
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
PURPOSE_OF_A_DRY_RUN: Final = click.option(
    "--purpose", help="Of a dry run: why you look at these people, 10 to 500 characters; kept in the audit log."
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
@click.option("--dry-run", is_flag=True, help="Revoke nothing: say what it would change, as `device impact` does.")
@PURPOSE_OF_A_DRY_RUN
@click.pass_obj
def revoke(
    settings: Settings, *, keyid: str, since: int | None, reason: str, dry_run: bool, purpose: str | None
) -> None:
    """Revoke KEYID. What the log received under it since --from no longer counts for any trace.

    Use the time from which the key may have been in other hands, not the time when you noticed. Of several
    revocations of a key the earliest time counts. `truyvet device restore` lifts them.

    \b
    Example:
      truyvet device revoke gate-1.1 --from 2021-10-21T08:00 --dry-run --purpose "the scanner at gate 1 was stolen"
      truyvet device revoke gate-1.1 --from 2021-10-21T08:00 --reason "stolen"
    """
    if dry_run:
        if purpose is None:
            raise click.UsageError("A dry run looks at people: say with --purpose why.")
        tell_impact(settings, keyid, now_ms() if since is None else since, purpose, as_json=False)
        return
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


@device.command()
@click.argument("keyid", metavar="KEYID")
@click.option("--reason", default="", help="Kept with the event. No personal data, please.")
@click.pass_obj
def restore(settings: Settings, keyid: str, reason: str) -> None:
    """Lift every revocation of KEYID: it was never in wrong hands.

    Its scans count again for every trace as of now or later, and it may sign again. A trace as of a moment between
    revocation and lifting still answers as it did. A key that should not sign any more is rotated instead
    (`truyvet device rotate ID --overlap-hours 0`): what it signed before goes on to count.

    \b
    Example:
      truyvet device restore gate-1.1 --reason "found in the store room"
    """
    with open_registries(settings) as registries:
        key = registries.registry.keyring.key(keyid)
        if key is None:
            raise click.ClickException(f"No key is called {keyid!r}. `truyvet device list` shows them.")
        if key.revoked_from is None:
            raise click.ClickException(f"{keyid} is not revoked.")
        registries.record(enrolment.restored(key, reason))
    click.echo(f"{keyid} is trusted again; it was revoked from {shown(key.revoked_from)} on.")


@device.command()
@click.argument("keyid", metavar="KEYID")
@click.option("--from", "since", type=TIME, help="As if it were untrusted from then on; default as it is revoked now.")
@PURPOSE
@click.option("--json", "as_json", is_flag=True, help="Everything, page by page, a line of JSON each.")
@click.pass_obj
def impact(settings: Settings, *, keyid: str, since: int | None, purpose: str, as_json: bool) -> None:
    """Say what revoking KEYID changes, or has changed: scans, and saved traces.

    Every saved trace that the scans can concern is asked again, as of its own moment, as if the revocation had been
    known then. Nothing is revoked.

    \b
    Example:
      truyvet device impact gate-1.1 --from 2021-10-21T08:00 --purpose "the scanner at gate 1 was stolen"
    """
    tell_impact(settings, keyid, since, purpose, as_json=as_json)


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
