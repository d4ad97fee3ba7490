"""Graphs read back by networkx."""

import io
from typing import Any

import msgspec
import networkx
import pytest
from hypothesis import given, settings

from tests.tracing.exports.samples import F0, answers, exported, known, pseudonym, registries, small, source_of
from tracing.answer import Answer
from tracing.exports.formats import Format
from tracing.exports.source import Known

FORMATS = pytest.mark.parametrize("format", [Format.GRAPHML, Format.GEXF])


def read(files: dict[str, bytes], format: Format) -> Any:
    data = io.BytesIO(files[f"trace.{format}"])
    return networkx.read_graphml(data) if format is Format.GRAPHML else networkx.read_gexf(data, version="1.3")


@FORMATS
@given(saved=answers(), registry=registries)
@settings(max_examples=20)
def test_nodes_and_edges_come_back(format: Format, saved: Answer, registry: Known) -> None:
    source = source_of(saved, registry)
    files, manifest = exported(source, format)
    graph = read(files, format)
    assert graph.is_directed()
    assert {node: values.get("role") for node, values in graph.nodes.items()} == {
        person.subject: person.role for person in source.people()
    }
    pairs = {(pair.source, pair.target): pair for pair in source.pairs()}
    assert set(graph.edges) == pairs.keys()
    for ends, values in graph.edges.items():
        assert values["weight"] == values["seconds"] == (pairs[ends].ms or 0) / 1000
        assert values["encounters"] == len(pairs[ends].encounters)
    assert manifest["files"][0]["counts"].get("edges", 0) == len(pairs)
    assert manifest["files"][0]["counts"]["nodes"] == len(graph)


@FORMATS
def test_a_name_that_xml_cannot_write_is_written_all_the_same(format: Format) -> None:
    registry = msgspec.structs.replace(known(), name_of={F0: 'a & "b" <c>\x00\ufffe'}.get)
    graph = read(exported(source_of(small(), registry), format)[0], format)
    assert graph.nodes[F0]["label"] == 'a & "b" <c>\ufffd\ufffd'
    assert graph.nodes[pseudonym(1)]["label"] == pseudonym(1)


@FORMATS
def test_the_chain_can_be_followed(format: Format) -> None:
    graph = read(exported(source_of(small()), format)[0], format)
    assert networkx.shortest_path_length(graph, F0, "c" * 32) == 2
    assert graph.edges[pseudonym(1), "c" * 32]["places"] == "mall"
