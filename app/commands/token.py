"""`truyvet token`: who may use the service over HTTP."""

import secrets

import click
from rich.table import Table

from app.clock import DAY_MS, now_ms, shown
from app.registries import open_registries
from app.settings import Settings
from app.terminal import add_row, show
from events.access import Role
from events.control import TokenIssued, TokenRevoked
from tracing.access import new_token


@click.group()
def token() -> None:
    """Let people use the service over HTTP: one bearer token a person, with a role and an end.

    Roles: admin (everything), analyst (cases and traces), officer (reads registries and cases), viewer (reads
    places and devices).

    \b
    Example:
      truyvet token create "CDC desk 1" --role analyst --days 14
    """


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="How long it is valid.")
@click.pass_obj
def create(settings: Settings, name: str, role: str, days: int) -> None:
    """Make a token for NAME and print it, once: only its digest is kept.

    \b
    Example:
      truyvet token create "CDC desk 1" --role analyst
    """
    if not 1 <= len(name) <= 100:
        raise click.UsageError("NAME must have 1 to 100 characters.")
    text, made = new_token(name, Role(role), now_ms() + days * DAY_MS, secrets.token_bytes)
    with open_registries(settings) as registries:
        registries.record([TokenIssued(made)])
    click.echo(text)
    click.echo(f"Role {role}, valid until {shown(made.expires)}. Kept nowhere: hand it over now.", err=True)


@token.command("list")
@click.pass_obj
def list_tokens(settings: Settings) -> None:
    """List the tokens: whose, which role, until when. Their texts are not kept.

    \b
    Example:
      truyvet token list
    """
    with open_registries(settings) as registries:
        tokens = registries.registry.tokens_by_sha256.values()
    table = Table("id", "name", "role", "valid until", "state")
    now = now_ms()
    for one in sorted(tokens, key=lambda one: (one.expires, one.id)):
        state = "revoked" if one.revoked else "expired" if one.expires <= now else "valid"
        add_row(table, one.id, one.name, one.role.value, shown(one.expires), state)
    show(table)


@token.command()
@click.argument("token_id", metavar="ID")
@click.pass_obj
def revoke(settings: Settings, token_id: str) -> None:
    """End a token now; ID is the one that `truyvet token list` shows.

    \b
    Example:
      truyvet token revoke 3f0c2a917b64
    """
    with open_registries(settings) as registries:
        if not any(one.id == token_id for one in registries.registry.tokens_by_sha256.values()):
            raise click.ClickException(f"No token has the id {token_id}. `truyvet token list` shows them.")
        registries.record([TokenRevoked(token_id)])
    click.echo(f"Token {token_id} is revoked.")
