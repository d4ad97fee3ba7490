"""Who met whom as a directed graph: GraphML and GEXF, written node by node and edge by edge.

Sources: GraphML 1.0 (http://graphml.graphdrawing.org/specification.html) and GEXF 1.3 (https://gexf.net/schema.html).
An edge goes from whom may have infected to whom they met and is one for all their encounters; its weight is seconds.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tracing.exports.moments import iso
from tracing.exports.source import Pair, Person, Source
from tracing.exports.xml_text import attribute, element_text

ITEMS_A_PIECE: Final = 500
XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

Values = tuple[tuple[str, str | int | float | None], ...]
"""Attributes of a node or an edge by name; those that are None are left out."""

NODE_ATTRIBUTES: Final = (
    *(("role", "string"), ("depth", "int"), ("seconds", "double")),
    *(("first", "string"), ("last", "string"), ("cases", "string")),
)
EDGE_ATTRIBUTES: Final = (
    *(("seconds", "double"), ("weight", "double"), ("encounters", "int")),
    *(("first", "string"), ("last", "string"), ("places", "string")),
)
"""Name and type; both formats call the types that they need by the same names."""


def graphml_pieces(source: Source, counts: Counter[str]) -> Iterator[bytes]:
    """The GraphML document; counts `nodes` and `edges`."""
    declared = "".join(
        f'<key id="{kind[0]}_{name}" for="{kind}" attr.name="{name}" attr.type="{typed}"/>\n'
        for kind, attributes in (("node", (("label", "string"), *NODE_ATTRIBUTES)), ("edge", EDGE_ATTRIBUTES))
        for name, typed in attributes
    )
    yield (
        f'{XML}<graphml xmlns="http://graphml.graphdrawing.org/xmlns"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns'
        ' http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">\n'
        f'{declared}<graph id="{source.head.id}" edgedefault="directed">\n'
    ).encode()
    yield from _joined(_graphml_node(person, source) for person in _counted_people(source, counts))
    yield from _joined(_graphml_edge(pair) for pair in _counted_pairs(source, counts))
    yield b"</graph>\n</graphml>\n"


def gexf_pieces(source: Source, counts: Counter[str]) -> Iterator[bytes]:
    """The GEXF document; counts `nodes` and `edges`. An edge's weight is an attribute of the format itself."""
    yield (
        f'{XML}<gexf xmlns="http://gexf.net/1.3" version="1.3">\n'
        f"<meta><creator>Truyvet</creator><description>Trace {source.head.id}</description></meta>\n"
        '<graph defaultedgetype="directed" mode="static" idtype="string">\n'
        f"{_gexf_attributes('node', NODE_ATTRIBUTES)}{_gexf_attributes('edge', EDGE_ATTRIBUTES)}<nodes>\n"
    ).encode()
    yield from _joined(_gexf_node(person, source) for person in _counted_people(source, counts))
    yield b"</nodes>\n<edges>\n"
    yield from _joined(_gexf_edge(number, pair) for number, pair in enumerate(_counted_pairs(source, counts)))
    yield b"</edges>\n</graph>\n</gexf>\n"


def _graphml_node(person: Person, source: Source) -> str:
    values = (("label", source.label(person.subject)), *_node_values(person))
    return f'<node id="{person.subject}">{_graphml_data("n", values)}</node>\n'


def _graphml_edge(pair: Pair) -> str:
    return f'<edge source="{pair.source}" target="{pair.target}">{_graphml_data("e", _edge_values(pair))}</edge>\n'


def _graphml_data(prefix: str, values: Values) -> str:
    return "".join(
        f'<data key="{prefix}_{name}">{element_text(str(value))}</data>' for name, value in values if value is not None
    )


def _gexf_attributes(kind: str, attributes: tuple[tuple[str, str], ...]) -> str:
    listed = (
        f'<attribute id="{name}" title="{name}" type="{"integer" if typed == "int" else typed}"/>'
        for name, typed in attributes
        if name != "weight"
    )
    return f'<attributes class="{kind}">{"".join(listed)}</attributes>\n'


def _gexf_node(person: Person, source: Source) -> str:
    label = attribute(source.label(person.subject))
    return f'<node id="{person.subject}" label={label}>{_gexf_values(_node_values(person))}</node>\n'


def _gexf_edge(number: int, pair: Pair) -> str:
    weight = f' weight="{pair.ms / 1000!r}"' if pair.ms is not None else ""
    values = _gexf_values(_edge_values(pair))
    return f'<edge id="{number}" source="{pair.source}" target="{pair.target}"{weight}>{values}</edge>\n'


def _gexf_values(values: Values) -> str:
    listed = (
        f'<attvalue for="{name}" value={attribute(str(value))}/>'
        for name, value in values
        if value is not None and name != "weight"
    )
    return f"<attvalues>{''.join(listed)}</attvalues>"


def _node_values(person: Person) -> Values:
    contact = person.contact
    return (
        ("role", person.role or None),
        ("depth", person.depth),
        ("seconds", contact.ms / 1000 if contact is not None else None),
        ("first", iso(contact.first) if contact is not None else None),
        ("last", iso(contact.last) if contact is not None else None),
        ("cases", " ".join(case for window in person.windows for case in window.cases) or None),
    )


def _edge_values(pair: Pair) -> Values:
    seconds = pair.ms / 1000 if pair.ms is not None else None
    return (
        ("seconds", seconds),
        ("weight", seconds),
        ("encounters", len(pair.encounters) or None),
        ("first", iso(pair.first)),
        ("last", iso(pair.last) if pair.last is not None else None),
        ("places", " ".join(dict.fromkeys(one.place for one in pair.encounters)) or None),
    )


def _counted_people(source: Source, counts: Counter[str]) -> Iterator[Person]:
    for person in source.people():
        counts["nodes"] += 1
        yield person


def _counted_pairs(source: Source, counts: Counter[str]) -> Iterator[Pair]:
    for pair in source.pairs():
        counts["edges"] += 1
        yield pair


def _joined(items: Iterator[str]) -> Iterator[bytes]:
    piece: list[str] = []
    for item in items:
        piece.append(item)
        if len(piece) == ITEMS_A_PIECE:
            yield "".join(piece).encode()
            piece.clear()
    yield "".join(piece).encode()
