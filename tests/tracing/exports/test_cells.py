import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracing.exports.samples import NASTY, pseudonym
from tracing.exports.cells import FORMULA_STARTS, literal_cell, plain_cell, safe_cell


@given(st.one_of(st.sampled_from(NASTY), st.text(max_size=10)))
def test_no_text_begins_like_a_formula_and_each_can_be_read_back(text: str) -> None:
    for cell in (safe_cell(text), literal_cell(text)):
        assert not cell.lstrip(" ").startswith(FORMULA_STARTS)
        assert cell.replace("'", "") == text.replace("'", "")
    assert plain_cell(safe_cell(text)) == text


@given(st.text(alphabet="',; =+-@\t1a", max_size=12))
def test_wherever_a_spreadsheet_parts_a_text_no_part_is_a_formula(text: str) -> None:
    """Vietnamese Excel parts RFC 4180's lines by semicolons, an English one by commas what was made for the former."""
    for cell in (safe_cell(text), literal_cell(text)):
        for part in re.split("[,;]", cell):
            assert not part.lstrip(" ").startswith(FORMULA_STARTS)
    assert plain_cell(safe_cell(text)) == text


@pytest.mark.parametrize(
    "text", [pseudonym(7), "3-4", "1/2/2021", "10:30", "1e5", "12,5", "5%", "1 1/2", "2-mar", "1" * 15 + "e" + "2" * 16]
)
def test_excel_takes_no_text_for_a_number_or_a_date(text: str) -> None:
    assert literal_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["market", "a1", "12ab34cd" * 4, "2021-10-22T07:00:00.000+07:00 x", "Chợ 3", ""])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert literal_cell(text) == text
