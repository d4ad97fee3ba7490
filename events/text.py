"""Text that people enter and other people read, on screens and in exports."""

from typing import Annotated, Final

from msgspec import Meta

VISIBLE: Final = (
    r"^[^\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]*$(?!\n)"
)
"""No control characters, no invisible ones, none that turn the reading direction: what is seen is what is stored."""

Label = Annotated[str, Meta(max_length=200, pattern=VISIBLE)]
"""A label; may be empty."""
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=VISIBLE)]
"""A name; may not be empty."""
