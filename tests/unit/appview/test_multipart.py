"""Forms, cut anywhere: the parts come out as they were put in, or the form is refused."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appview.rest.multipart import MAX_HEAD, MAX_PARTS, BadForm, FormParser, Head, boundary_of

Parts = list[tuple[Head, bytes]]


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


def parsed(form: bytes, cuts: list[int] | None = None) -> Parts:
    """The parts of a whole form."""
    parser = FormParser(b"x")
    found: list[tuple[Head, list[bytes]]] = []
    edges = [0, *sorted(cuts or []), len(form)]
    for start, stop in pairwise(edges):
        for event in parser.feed(form[start:stop]):
            if isinstance(event, Head):
                found.append((event, []))
            else:
                assert event
                found[-1][1].append(event)
    assert parser.finished
    return [(head, b"".join(chunks)) for head, chunks in found]


def test_parts_come_out_as_they_were_put_in() -> None:
    form = (
        part("title", b"Night Ferry")
        + part("file", b"\x00\r\n--\r\n--y", '; filename="a b.mp3"')
        + b"--x--\r\n"
    )
    assert parsed(form) == [
        (Head("title", None), b"Night Ferry"),
        (Head("file", "a b.mp3"), b"\x00\r\n--\r\n--y"),
    ]


@settings(deadline=None)
@given(
    contents=st.lists(
        st.binary(max_size=40) | st.sampled_from([b"\r\n-", b"\r\n--", b"--x", b"\r", b""]), max_size=4
    ),
    seed=st.integers(0, 2**32),
)
def test_it_does_not_matter_where_a_form_is_cut(contents: list[bytes], seed: int) -> None:
    # What a part holds may be nearly its boundary, but not it.
    contents = [content.replace(b"\r\n--x", b"") for content in contents]
    form = b"".join(part(f"p{n}", content) for n, content in enumerate(contents)) + b"--x--"
    chance = random.Random(seed)
    cuts = [chance.randrange(len(form)) for _ in range(8)]
    found = parsed(form, cuts)
    assert [content for _, content in found] == contents
    assert parsed(form, list(range(len(form)))) == found


@pytest.mark.parametrize(
    ("more", "filename"),
    [
        ("", None),
        ('; filename=""', ""),
        ('; filename="a.mp3"', "a.mp3"),
        ("; filename=a.mp3", "a.mp3"),
        ('; filename="Ä \U0001f3b5.mp3"', "Ä \U0001f3b5.mp3"),
        ('; filename="a%22b.mp3"', 'a"b.mp3'),
        ('; filename="a\\"b.mp3"', 'a"b.mp3'),
        ("; filename=\"x\"; filename*=UTF-8''%C3%84.mp3", "Ä.mp3"),
        ('; FileName="a;b.mp3"', "a;b.mp3"),
    ],
)
def test_a_file_name_is_read_however_it_is_written(more: str, filename: str | None) -> None:
    ((head, _),) = parsed(part("file", b"x", more) + b"--x--")
    assert head == Head("file", filename)


HOSTILE = {
    "no boundary ever": b"a" * 5000,
    "another boundary": b"--y\r\n" + b"a" * 5000,
    "a head without an end": b"--x\r\n" + b"A: " + b"b" * MAX_HEAD,
    "many lines of head": b"--x\r\n" + b"A: b\r\n" * MAX_HEAD,
    "too many parts": part("a", b"") * (MAX_PARTS + 1),
    "no head": b"--x\r\n\r\nabc\r\n--x--",
    "no disposition": b"--x\r\nContent-Type: text/plain\r\n\r\nabc",
    "no name": b"--x\r\nContent-Disposition: form-data\r\n\r\nabc",
    "an empty name": b'--x\r\nContent-Disposition: form-data; name=""\r\n\r\nabc',
    "an attachment": b'--x\r\nContent-Disposition: attachment; name="a"\r\n\r\nabc',
    "a line that is no field": b"--x\r\nnonsense\r\n\r\nabc",
    "a boundary that goes on": b"--xy\r\nA: b\r\n\r\n",
    "an encoded part": b'--x\r\nContent-Disposition: form-data; name="a"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nYWJj",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_form_is_refused(case: str) -> None:
    form = HOSTILE[case]
    with pytest.raises(BadForm):
        parsed(form, list(range(0, len(form), 1000)))


def test_a_form_that_ends_in_the_middle_is_not_finished() -> None:
    parser = FormParser(b"x")
    list(parser.feed(part("file", b"abc") + b"--x"))
    assert not parser.finished


@pytest.mark.parametrize(
    "text",
    [
        "",
        "application/json",
        "multipart/mixed; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "x" * 71,
        'multipart/form-data; boundary="a\r\nb"',
    ],
)
def test_without_a_boundary_it_is_no_form(text: str) -> None:
    with pytest.raises(BadForm):
        boundary_of(text)


def test_a_boundary_may_be_quoted() -> None:
    assert boundary_of('Multipart/Form-Data; charset=utf-8; boundary="a b:c"') == b"a b:c"
    assert boundary_of("multipart/form-data; boundary=----WebKitFormBoundaryX") == b"----WebKitFormBoundaryX"
