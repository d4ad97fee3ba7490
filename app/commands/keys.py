"""`truyvet keys`: the server's own keys."""

import base64

import click

from app import key_file
from app.client import api_client
from app.clock import now_ms
from app.key_watch import WATCH_SECONDS
from app.settings import Settings
from app.terminal import counted
from events import codec


@click.group()
def keys() -> None:
    """Rotate the server's keys, or print the public ones, with which scanners check codes offline.

    \b
    Example:
      truyvet keys public > issuers.json
    """


@keys.command()
@click.pass_obj
def rotate(settings: Settings) -> None:
    """Add a generation of keys, which issues codes and seals evidence from now on. Older ones still open theirs.

    Running processes notice within seconds. Back the key file up again afterwards.

    \b
    Example:
      truyvet keys rotate
    """
    fresh = key_file.rotate(settings.keys_path, now_ms())
    click.echo(f"Generation {fresh.current.kid} is current; {settings.keys_path} holds {len(fresh.generations)}.")
    click.echo(
        f"Wait {WATCH_SECONDS:.0f} s before you print codes, give scanners `truyvet keys public`, back the file up.",
        err=True,
    )


@keys.command("retire-directory")
@click.pass_obj
def retire_directory(settings: Settings) -> None:
    """Destroy the directory keys that were in use before the last rotation, once nobody's key hangs on them.

    Copies of the people's keys that were made before open nothing any more, so that whoever is erased since is erased
    in those, too. Replace the key file's backups as well.

    \b
    Example:
      truyvet keys rotate && sleep 60 && truyvet keys retire-directory
    """
    known = key_file.load(settings.keys_path).directory_keys
    found = api_client(settings).directory_keys()
    hanging = sum(each.people for each in found.keys if each.kid != found.current)
    if not known or found.current != known[-1].kid:
        raise click.ClickException(
            "The trace service does not use the newest directory key yet. Wait a moment, then try again."
        )
    if 0 < hanging <= found.broken:
        raise click.ClickException(
            f"{counted(hanging, 'key of a person', 'keys of people')} cannot be unwrapped, so nothing was"
            " destroyed; all others are wrapped anew. Put back the key file that holds their directory key, or the"
            " file of the people's keys as it was; else erase these people, readmit them, import their lines again."
        )
    if hanging:
        raise click.ClickException(
            f"{counted(hanging, 'key is', 'keys are')} still to be wrapped anew. Wait a moment, then try again."
        )
    fresh = key_file.retire_directory_keys(settings.keys_path)
    gone = len(known) - len(fresh.directory_keys)
    click.echo(f"{counted(gone, 'old directory key', 'old directory keys')} destroyed; {found.current} is in use.")


@keys.command()
@click.pass_obj
def public(settings: Settings) -> None:
    """Print the issuer's public keys as JSON: generation → 32 bytes of Ed25519 in base64. Nothing in it is secret.

    \b
    Example:
      truyvet keys public > issuers.json && truyvet scan --issuers issuers.json --key …
    """
    issuers = key_file.load(settings.keys_path).issuer_public_keys()
    click.echo(codec.to_json({str(kid): base64.b64encode(public).decode() for kid, public in issuers.items()}))
