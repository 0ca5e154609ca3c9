"""What a scope allows, whatever words say it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appview.auth import scopes
from appview.auth.scopes import Permit, covers, expanded, fallbacks, missing, permits, union
from lexicons.catalog import Catalog

CATALOG = Catalog.load()
KNOWN = {
    **CATALOG.definitions,
    "net.example.calls": {
        "type": "permission-set",
        "permissions": [
            {"resource": "rpc", "lxm": ["net.example.getOne", "net.example.deep.getTwo"], "inheritAud": True},
            {"resource": "rpc", "lxm": ["net.example.getFixed"], "aud": "*"},
            {"resource": "rpc", "lxm": ["com.atproto.server.deleteAccount"], "aud": "*"},
            {"resource": "repo", "collection": ["net.example.note"], "action": ["create"]},
            {"resource": "repo", "collection": ["net.examples.note"]},
            {"resource": "repo", "collection": ["*"]},
            {"resource": "blob", "accept": ["*/*"]},
            {"resource": "account", "attr": "email"},
        ],
    },
}
ALL = ("create", "update", "delete")
SERVICE = "did:web:plyr.example%23plyr_appview"

COVERED = [
    ("atproto", "atproto"),
    ("repo:fm.plyr.track", "repo?collection=fm.plyr.track"),
    ("repo?collection=fm.plyr.track&collection=fm.plyr.like", "repo:fm.plyr.like repo:fm.plyr.track"),
    ("repo:fm.plyr.track", "repo:fm.plyr.track?action=create&action=update&action=delete"),
    (
        "repo:fm.plyr.track?action=create repo:fm.plyr.track?action=delete&action=update",
        "repo:fm.plyr.track",
    ),
    ("repo:*", "repo:fm.plyr.track"),
    ("repo:*?action=create", "repo:fm.plyr.track?action=create"),
    ("blob:*/*", "blob:audio/*"),
    ("blob:audio/*", "blob:audio/mpeg"),
    ("blob:AUDIO/*", "blob:audio/MPEG"),
    ("blob?accept=audio/*&accept=image/png", "blob:audio/flac blob:image/png"),
    (f"rpc:*?aud={SERVICE}", f"rpc:fm.plyr.feed.getTrack?aud={SERVICE}"),
    ("rpc:fm.plyr.feed.getTrack?aud=*", f"rpc:fm.plyr.feed.getTrack?aud={SERVICE}"),
    ("account:email?action=manage", "account:email"),
    ("identity:*", "identity:handle"),
    ("include:fm.plyr.authFullApp", "repo:fm.plyr.actor.profile"),
    ("include:fm.plyr.authFullApp", "include:fm.plyr.authFullApp"),
    ("include:not.known.here", "include:not.known.here"),
    (" ".join(f"repo:{name}" for name in CATALOG.collections.own), "include:fm.plyr.authFullApp"),
    ("transition:generic", "repo:fm.plyr.track blob:*/* include:fm.plyr.authFullApp"),
    ("transition:generic", f"rpc:*?aud={SERVICE}"),
    ("transition:chat.bsky", "rpc:chat.bsky.convo.getConvo?aud=*"),
    ("transition:email", "account:email"),
    (f"include:net.example.calls?aud={SERVICE}", f"rpc:net.example.getOne?aud={SERVICE}"),
    ("include:net.example.calls", "rpc:net.example.getFixed?aud=*"),
    ("repo:fm.plyr.track unheard-of:thing", "unheard-of:thing"),
]
NOT_COVERED = [
    ("", "atproto"),
    ("atprot", "atproto"),
    ("repo:fm.plyr.track", "repo:fm.plyr.tracks"),
    ("repo:fm.plyr.track", "repo:fm.plyr.like"),
    ("repo:fm.plyr.*", "repo:fm.plyr.track"),
    ("repo:fm.plyr.track", "repo:*"),
    ("repo:fm.plyr.track?action=create", "repo:fm.plyr.track"),
    ("repo:fm.plyr.track?action=manage", "repo:fm.plyr.track?action=create"),
    ("repo:fm.plyr.track?actions=create", "repo:fm.plyr.track?action=create"),
    ("repo:fm.plyr.track?collection=fm.plyr.like", "repo:fm.plyr.track"),
    ("repo", "repo:fm.plyr.track"),
    ("repo:", "repo:fm.plyr.track"),
    ("REPO:fm.plyr.track", "repo:fm.plyr.track"),
    ("blob:audio/*", "blob:*/*"),
    ("blob:audio/mpeg", "blob:audio/*"),
    ("blob:aud*", "blob:audio/mpeg"),
    ("blob:*/mpeg", "blob:audio/mpeg"),
    ("blob:audio/*", "blob:audiobook/mpeg"),
    ("blob:*", "blob:audio/mpeg"),
    ("rpc:*?aud=*", f"rpc:fm.plyr.feed.getTrack?aud={SERVICE}"),
    ("rpc:fm.plyr.feed.getTrack", f"rpc:fm.plyr.feed.getTrack?aud={SERVICE}"),
    ("rpc:fm.plyr.feed.getTrack?aud=did:web:plyr.example", "rpc:fm.plyr.feed.getTrack?aud=*"),
    ("account:email", "account:email?action=manage"),
    ("identity:handle", "identity:*"),
    ("transition:generic", "account:email"),
    ("transition:generic", "identity:handle"),
    ("transition:generic", "rpc:chat.bsky.convo.getConvo?aud=*"),
    ("transition:generic", "atproto"),
    ("include:fm.plyr.authFullApp", "repo:fm.plyr.unknown"),
    ("include:fm.plyr.authFullApp", "blob:*/*"),
    ("include:fm.plyr.track", "repo:fm.plyr.track"),
    ("include:not.known.here", "include:fm.plyr.authFullApp"),
    ("include:net.example.calls", f"rpc:net.example.getOne?aud={SERVICE}"),
    ("include:net.example.calls", "repo:net.examples.note"),
    ("include:net.example.calls", "repo:anything.at.all"),
    ("include:net.example.calls", "blob:audio/mpeg"),
    ("include:net.example.calls", "account:email"),
    ("include:net.example.calls", "rpc:com.atproto.server.deleteAccount?aud=*"),
]


@pytest.mark.parametrize(("granted", "wanted"), COVERED)
def test_covered(granted: str, wanted: str) -> None:
    assert covers(granted, wanted, KNOWN)


@pytest.mark.parametrize(("granted", "wanted"), NOT_COVERED)
def test_not_covered(granted: str, wanted: str) -> None:
    assert not covers(granted, wanted, KNOWN)


def test_what_is_missing_is_named_one_by_one() -> None:
    granted = "atproto repo:fm.plyr.track?action=create blob:image/*"
    assert [
        str(need) for need in missing(granted, "repo:fm.plyr.track repo:fm.plyr.like?action=create", KNOWN)
    ] == [
        "repo:fm.plyr.track?action=update",
        "repo:fm.plyr.track?action=delete",
        "repo:fm.plyr.like?action=create",
    ]


def test_the_full_wish_is_the_permission_set_and_blobs() -> None:
    assert {
        permit.value for permit in permits(scopes.full("fm.plyr"), KNOWN) if permit.resource == "repo"
    } == set(CATALOG.collections.own)
    assert covers(scopes.full("fm.plyr"), "atproto blob:audio/mpeg", KNOWN)


def test_each_fallback_covers_the_wish_and_the_metadata_hold_their_words() -> None:
    wish = scopes.full("fm.plyr")
    found = fallbacks(wish, KNOWN)
    assert [scope.split()[1].partition(":")[0] for scope in found] == ["include", "repo", "transition"]
    assert all(covers(scope, wish, KNOWN) for scope in found)
    assert set(union(found).split()) == {word for scope in found for word in scope.split()}


def test_in_another_namespace_the_set_is_that_namespaces() -> None:
    catalog = Catalog.load("fm.plyr.dev")
    wish = scopes.full("fm.plyr.dev")
    assert "repo:fm.plyr.dev.track" in expanded(wish, catalog.definitions).split()
    assert not covers(scopes.full("fm.plyr"), wish, catalog.definitions)


def test_a_wish_without_sets_has_one_fallback() -> None:
    assert fallbacks("atproto repo:fm.plyr.track", KNOWN) == [
        "atproto repo:fm.plyr.track",
        "atproto transition:generic",
    ]


def test_who_wishes_for_nothing_or_for_more_is_not_given_nearly_all() -> None:
    assert fallbacks("atproto", KNOWN) == ["atproto"]
    assert fallbacks("atproto repo:* account:email", KNOWN) == ["atproto repo:* account:email"]


# -- properties

COLLECTIONS = st.sampled_from(["fm.plyr.track", "fm.plyr.like", "fm.plyr.list", "app.bsky.feed.post"])
ACTIONS = st.lists(st.sampled_from(ALL), unique=True, min_size=1)
MIMES = st.sampled_from(["*/*", "audio/*", "audio/mpeg", "image/*", "image/png"])


@st.composite
def repo_words(draw: st.DrawFn) -> tuple[str, frozenset[Permit]]:
    """A word, spelled in any way that the language has, and what it allows."""
    collections = draw(st.lists(COLLECTIONS, unique=True, min_size=1))
    actions = draw(st.one_of(st.just(list[str]()), ACTIONS))
    parameters = [f"action={action}" for action in actions]
    positional = len(collections) == 1 and draw(st.booleans())
    if not positional:
        parameters += [f"collection={collection}" for collection in collections]
    parameters = draw(st.permutations(parameters))
    head = f"repo:{collections[0]}" if positional else "repo"
    word = head + ("?" + "&".join(parameters) if parameters else "")
    return word, frozenset(Permit("repo", c, a) for c in collections for a in actions or ALL)


SPELLED = st.lists(repo_words(), max_size=4)
WORDS = st.lists(
    st.one_of(
        repo_words().map(lambda pair: pair[0]),
        MIMES.map(lambda mime: f"blob:{mime}"),
        st.sampled_from(["atproto", "transition:generic", "include:fm.plyr.authFullApp", "x:y", "repo:*"]),
    ),
    max_size=5,
).map(" ".join)


@pytest.mark.parametrize(
    ("resource", "names", "details"),
    [("repo", "collection=*", "action=create"), ("rpc", "lxm=a.b.c{}", "aud=did:web:a%23{}")],
)
def test_a_word_that_multiplies_stands_for_nothing(resource: str, names: str, details: str) -> None:
    """Some kilobytes would be millions of permits, to be counted whenever its session asks."""
    listed = [text.format(number) for text in (names, details) for number in range(100)]
    word = f"{resource}?{'&'.join(listed)}"
    assert list(permits(f"atproto {word}", KNOWN)) == [Permit("atproto"), Permit(word)]


@settings(deadline=None)
@given(SPELLED, SPELLED)
def test_covering_is_a_question_of_sets_whatever_the_spelling(
    granted: list[tuple[str, frozenset[Permit]]], wanted: list[tuple[str, frozenset[Permit]]]
) -> None:
    held = frozenset[Permit]().union(*(allowed for _, allowed in granted))
    need = frozenset[Permit]().union(*(allowed for _, allowed in wanted))
    words = " ".join(word for word, _ in granted), " ".join(word for word, _ in wanted)
    assert covers(*words, KNOWN) == (need <= held)
    assert set(missing(*words, KNOWN)) == need - held


@settings(deadline=None)
@given(WORDS, WORDS, WORDS)
def test_covering_is_an_order(a: str, b: str, c: str) -> None:
    assert covers(a, a, KNOWN)
    assert covers(f"{a} {b}", a, KNOWN)
    if covers(a, b, KNOWN) and covers(b, c, KNOWN):
        assert covers(a, c, KNOWN)


@settings(deadline=None)
@given(WORDS)
def test_an_expanded_scope_means_the_same(scope: str) -> None:
    said = expanded(scope, KNOWN)
    assert "include:" not in said
    assert covers(said, scope, KNOWN)
    assert covers(scope, said, KNOWN)


@settings(deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_read_without_an_error(granted: str, wanted: str) -> None:
    assert covers(granted, granted, KNOWN)
    missing(granted, wanted, KNOWN)
    expanded(f"repo:{granted} include:{wanted} blob?{granted}", KNOWN)
