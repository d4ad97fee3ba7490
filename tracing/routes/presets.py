"""Presets: named rules of contact with their sources."""

from typing import Final

import msgspec
from litestar import Response, get

from tracing.access import Permission
from tracing.operation import OPERATION, Operation, Success
from tracing.parts import Asked, Given, reply
from tracing.presets import PRESETS, Preset


class PresetList(msgspec.Struct, frozen=True):
    """Every preset."""

    items: list[Preset]


LIST: Final = Operation(
    name="list_presets",
    tag="Traces",
    summary="List the named rules of contact, with their sources",
    text=(
        "A question may name one as `preset`; what it says itself counts before the preset. Every preset says in words"
        " what it asks, and in `near` what is counted otherwise here than at its source."
    ),
    permission=Permission.TRACES,
    successes=(Success(200, "The presets", PresetList),),
)


@get("/v1/presets", opt={OPERATION: LIST}, sync_to_thread=False)
def list_presets(request: Asked, parts: Given) -> Response[bytes]:
    """All of them; they are data of the release."""
    return reply(PresetList(list(PRESETS.values())))


ROUTES: Final = (list_presets,)
