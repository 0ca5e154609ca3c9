"""appview/rest/tags.py: what becomes of the tags of a form."""

from __future__ import annotations

import pytest

from appview.rest.answers import Refused
from appview.rest.tags import normal, tags_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("[]", []),
        ('["Noise", " #Drone ", "noise", "", "#"]', ["noise", "drone"]),
        ('["two\\n words", "夜", "e\\u0301"]', ["two words", "夜", "\N{LATIN SMALL LETTER E WITH ACUTE}"]),
        ('["\\u0000"]', []),
    ],
)
def test_tags_are_kept_small_and_once(text: str, expected: list[str]) -> None:
    assert tags_of(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("noise", "invalid JSON in tags"),
        ('"noise"', "tags must be a JSON array of strings"),
        ("[1]", "tags must be a JSON array of strings"),
        (str([f"t{n}" for n in range(11)]).replace("'", '"'), "maximum 10 tags allowed"),
        ('["' + "x" * 51 + '"]', "a tag has at most 50 letters"),
    ],
)
def test_what_are_no_tags_is_refused(text: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        tags_of(text)
    assert refused.value.status == 400
    assert said in str(refused.value.detail)


def test_a_tag_is_its_own_normal_form() -> None:
    assert normal(normal("## Big  Beat")) == normal("## Big  Beat") == "big beat"
