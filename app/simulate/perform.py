"""The whole simulation from a plan to the last receipt, with its progress on the terminal."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from app import key_file
from app.clock import now_ms
from app.registries import open_registries
from app.settings import Settings
from app.simulate.enrol import enrol
from app.simulate.plan import Plan
from app.simulate.post import OnParcel, Tally, post
from app.simulate.wallet import Wallet
from app.simulate.world import World, build_world

REFRESH_SECONDS: Final = 0.2


class Province(msgspec.Struct, frozen=True):
    """A world with the codes and pseudonyms that the service's key file gives its people."""

    world: World
    wallet: Wallet


class Performed(msgspec.Struct, frozen=True):
    """A simulation that is over: registry events written, what the receipts said, how long the sending took."""

    enrolled: int
    tally: Tally
    seconds: float

    @property
    def scans_per_second(self) -> float:
        """How fast the edge took the scans, repeats included."""
        return self.tally.scans / self.seconds


def raise_province(settings: Settings, plan: Plan, console: Console) -> Province:
    """Build the world of a plan for the service of these settings. Raises `KeyFileError`."""
    secrets = key_file.load(settings.keys_path)
    with console.status(f"Imagining {plan.people:,} people for {plan.days} days …"):
        world = build_world(plan)
        return Province(world, Wallet(world, secrets))


def perform(settings: Settings, province: Province, console: Console) -> Performed:
    """Register the province and send its scans. Raises `StreamDown`, `OtherKeys`, `PostFailed`."""
    world, wallet = province.world, province.wallet
    with open_registries(settings) as registries:
        enrolled = enrol(registries, world, wallet, now_ms())
    began = time.monotonic()
    with (
        _progress(console, sum(len(parcel.taken) for parcel in world.parcels)) as on_parcel,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        tally = runner.run(post(world, wallet, settings.ingest, on_parcel))
    return Performed(enrolled, tally, time.monotonic() - began)


@contextmanager
def _progress(console: Console, scans: int) -> Iterator[OnParcel]:
    """A bar that is drawn from the event loop itself, a few times a second."""
    columns = (
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TextColumn("[cyan]{task.fields[rate]:,.0f} scans/s"),
        TextColumn("{task.fields[accepted]:,} accepted"),
        TextColumn("{task.fields[duplicate]:,} duplicate"),
        TextColumn("{task.fields[refused]:,} refused"),
    )
    with Progress(*columns, console=console, auto_refresh=False) as bar:
        task = bar.add_task("Sending", total=scans, rate=0.0, accepted=0, duplicate=0, refused=0)
        yield _painter(bar, task, time.monotonic())


def _painter(bar: Progress, task: TaskID, began: float) -> Callable[[Tally], None]:
    painted = began

    def paint(tally: Tally) -> None:
        nonlocal painted
        now = time.monotonic()
        last = bar.tasks[0].total == tally.scans
        if now - painted < REFRESH_SECONDS and not last:
            return
        painted = now
        bar.update(
            task,
            completed=tally.scans,
            rate=tally.scans / max(now - began, REFRESH_SECONDS),
            accepted=tally.accepted,
            duplicate=tally.duplicate,
            refused=tally.refused,
        )
        bar.refresh()

    return paint
