import msgspec
import pytest

from events.text import Label, Name


@pytest.mark.parametrize(
    "name", ["Chợ Bến Thành", "Trường THPT số 2 – Dĩ An", "咖啡", 'O\'Brien & Sons, "A"', "x" * 200]
)
def test_what_people_write_is_taken(name: str) -> None:
    assert msgspec.convert(name, Name) == name


@pytest.mark.parametrize(
    "name",
    ["", "x" * 201, "a\nb", "a\n", "a\x00b", "\u202egnp.exe", "a\u200bb", "\ufeffa", "a\u2066b", "a\x9bb", "a\u2028b"],
)
def test_what_cannot_be_seen_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, Name)


def test_a_label_may_be_empty() -> None:
    assert msgspec.convert("", Label) == ""
