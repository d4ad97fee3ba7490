"""Text that may stand in an XML 1.0 document, whatever was once registered."""

import re
from typing import Final
from xml.sax.saxutils import escape, quoteattr

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Outside the production Char of XML 1.0, section 2.2."""


def visible(text: str) -> str:
    """The text with a visible mark for every character that XML has no way to write."""
    return _NO_XML.sub(REPLACEMENT, text)


def element_text(text: str) -> str:
    """As the content of an element."""
    return escape(visible(text))


def attribute(text: str) -> str:
    """As an attribute's value, quotes included."""
    return quoteattr(visible(text))
