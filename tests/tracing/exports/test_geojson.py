"""Places read back by a validator of RFC 7946, and summed up again by hand."""

from typing import Any

import geojson
from hypothesis import given, settings

from tests.tracing.exports.samples import answers, exported, known, registries, small, source_of
from tracing.answer import Answer
from tracing.exports.formats import Format
from tracing.exports.source import Known


def places(saved: Answer, registry: Known) -> dict[str, Any]:
    files, manifest = exported(source_of(saved, registry), Format.GEOJSON)
    collection = geojson.loads(files["places.geojson"])
    assert isinstance(collection, geojson.FeatureCollection)
    assert collection.is_valid, collection.errors()
    assert manifest["files"][0]["counts"].get("features", 0) == len(collection.features)
    return {feature.id: feature for feature in collection.features}


@given(answers(), registries)
@settings(max_examples=25)
def test_each_place_says_how_many_met_there_and_how_long(saved: Answer, registry: Known) -> None:
    found = places(saved, registry)
    met = [(one, contact.subject) for contact in saved.contacts for one in contact.encounters]
    assert found.keys() == {one.place for one, _ in met}
    for place, feature in found.items():
        here = [(one, subject) for one, subject in met if one.place == place]
        properties = feature.properties
        assert properties["contacts"] == len({subject for _, subject in here})
        assert properties["encounters"] == len(here)
        assert round(properties["seconds"] * 1000) == sum(one.end - one.start for one, _ in here)
        assert properties["first_ms"] == min(one.start for one, _ in here)
        assert properties["last_ms"] == max(one.end for one, _ in here)
        registered = registry.place(place)
        assert properties["name"] == (registered.name if registered else None)


def test_longitude_comes_first_and_a_place_without_coordinates_is_still_there() -> None:
    found = places(small(), known(market="Chợ", row="Dãy A"))
    assert found["market"].geometry.coordinates == [106.7, 10.77]
    assert found["row"].geometry is None
    assert found["mall"].properties["name"] is None
