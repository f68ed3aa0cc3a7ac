"""JSON answers, by rules that hold for any of them; and what gives a secret away."""

import base64
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from harness.isolation.tenant.answers import flatten, pick, same, scalar, shape
from harness.masking.forms import gives_away

NAMES = st.text(st.characters(exclude_characters=".", exclude_categories=["Cs"]), min_size=1, max_size=8)
SINGLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
ANSWERS = st.recursive(
    SINGLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(NAMES, ANSWERS, min_size=1, max_size=4))
def test_every_line_of_a_flattened_answer_is_found_by_its_path(answer: Any) -> None:
    lines = list(flatten(answer))
    assert len(dict(lines)) == len(lines) > 0
    for path, text in lines:
        value = pick(answer, path)
        assert text == {"[]": "[]", "{}": "{}", "None": "null"}.get(repr(value), scalar(value))


@given(ANSWERS)
def test_two_answers_that_differ_flatten_differently(answer: Any) -> None:
    assert dict(flatten({"a": answer})) != dict(flatten({"a": [answer]}))


def test_a_deep_answer_is_no_trouble() -> None:
    answer: Any = 1
    for _ in range(100_000):
        answer = [answer]
    assert len(shape(answer)) < 100
    assert [text for _, text in flatten(answer)] == ["1"]


@given(st.recursive(st.just("value!"), lambda inner: st.lists(inner) | st.dictionaries(st.just("name"), inner)))
def test_a_shape_shows_names_and_no_values(answer: Any) -> None:
    assert "value!" not in shape(answer)
    assert len(shape(answer)) < 2000


@given(SINGLE.filter(lambda value: value is not None))
def test_a_value_is_the_same_as_itself_in_quotes(value: Any) -> None:
    assert same(value, value)
    assert same(value, scalar(value))
    assert same(scalar(value), value)
    assert not same(value, [value])


@given(st.text(min_size=1, max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_gives_itself_away_in_each_form(secret: str, before: str, after: str) -> None:
    for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()):
        assert gives_away(f"{before}{form}{after}", secret)
        assert gives_away(f"{before}{form[-16:]}{after}", secret)


def test_the_beginning_of_a_secret_is_not_the_secret() -> None:
    assert not gives_away("keys look like sk_test_…", "sk_test_0123456789abcdef")
    assert gives_away("is it 0123456789abcdef?", "sk_test_0123456789abcdef")
