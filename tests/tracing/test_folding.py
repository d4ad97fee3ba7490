import pytest

from tracing.routes.places import folded


@pytest.mark.parametrize(
    ("name", "plain"), [("Chợ Đồng Xuân", "cho dong xuan"), ("Cho\u031b\u0323", "cho"), ("ABC", "abc"), ("đĐ", "dd")]
)
def test_names_are_compared_without_case_and_diacritics(name: str, plain: str) -> None:
    assert folded(name) == plain
