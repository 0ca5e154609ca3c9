"""What a scope string allows, compared by meaning (/specs/permission; rules O10, O11). Pure.

A scope is words between spaces. `atproto` is in each; a granular word is `resource:value?name=value`, or
the same with its value as a parameter; `include:` stands for a permission set, whose text is a schema;
`transition:generic` is what servers of before had, and allows nearly all. Servers write a word in
another way than they read it, so that words tell nothing: what they allow does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from lexicons.syntax import is_nsid

ATPROTO = "atproto"
GENERIC = "transition:generic"
MOST_PERMITS = 250  # of one word: a server may write what it likes, and lists in a word multiply
REPO_ACTIONS = ("create", "update", "delete")
Definitions = Mapping[str, Mapping[str, Any]]  # of `Catalog.definitions`, by NSID

# Of each resource: the parameter that may stand after the colon, the second one and its default.
_RESOURCES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "repo": ("collection", "action", REPO_ACTIONS),
    "blob": ("accept", "", ("",)),
    "rpc": ("lxm", "aud", ()),
    "account": ("attr", "action", ("read",)),
    "identity": ("attr", "", ("",)),
}


@dataclass(frozen=True, slots=True)
class Permit:
    """One thing that is allowed: `detail` is an action, or of `rpc` the audience.

    `repo` fm.plyr.track create · `blob` audio/* · `rpc` NSID did:web:…#service. A word that is none of
    these is a resource of its own.
    """

    resource: str
    value: str = ""
    detail: str = ""

    def __str__(self) -> str:
        text = f"{self.resource}:{self.value}" if self.value else self.resource
        name = _RESOURCES.get(self.resource, ("", "", ()))[1]
        return f"{text}?{name}={self.detail}" if name else text


def full(namespace: str) -> str:
    """What a session asks for: our permission set, and blobs, which no set may contain."""
    return f"{ATPROTO} include:{namespace}.authFullApp blob:*/*"


def fallbacks(scope: str, definitions: Definitions) -> Sequence[str]:
    """The same wish in the words of older servers, best first, `scope` itself included.

    A server that cannot read our permission set gets its content; one that knows no granular
    scopes gets `transition:generic`, if that allows what is wished for.
    """
    found = dict.fromkeys((scope, expanded(scope, definitions)))
    generic = f"{ATPROTO} {GENERIC}"
    if missing(ATPROTO, scope, definitions) and covers(generic, scope, definitions):
        found[generic] = None
    return list(found)


def union(scopes: Iterable[str]) -> str:
    """Every word of several scopes once: what a client's metadata have to say."""
    return " ".join(dict.fromkeys(word for scope in scopes for word in scope.split()))


def expanded(scope: str, definitions: Definitions) -> str:
    """The scope with each permission set that we know replaced by words with its content."""
    words: dict[str, None] = {}
    for word in scope.split():
        included = list(_included(word, definitions))
        for text in _words(included) if included else (word,):
            words[text] = None
    return " ".join(words)


def missing(granted: str, wanted: str, definitions: Definitions) -> Sequence[Permit]:
    """What `wanted` allows and `granted` does not, each once, in the order of `wanted`."""
    held = list(dict.fromkeys(permits(granted, definitions)))
    needed = dict.fromkeys(permits(wanted, definitions))
    return [need for need in needed if not any(_allows(permit, need) for permit in held)]


def covers(granted: str, wanted: str, definitions: Definitions) -> bool:
    """True if `granted` allows all that `wanted` does."""
    return not missing(granted, wanted, definitions)


def permits(scope: str, definitions: Definitions) -> Iterator[Permit]:
    """All that a scope allows. A word that breaks its syntax allows nothing but itself."""
    for word in scope.split():
        found = list(_included(word, definitions)) or list(_permits(word))
        yield from found or (Permit(word),)


def _permits(word: str) -> Iterator[Permit]:
    resource, positional, parameters = _taken_apart(word)
    if resource not in _RESOURCES:
        return
    name, second, default = _RESOURCES[resource]
    if set(parameters) - {name, second} or (positional and name in parameters):
        return
    values = [positional] if positional else parameters.get(name, [])
    details = parameters.get(second) or list(default)
    if len(values) * len(details) > MOST_PERMITS:
        return
    yield from _checked([Permit(resource, *pair) for pair in product(values, details)])


def _included(word: str, definitions: Definitions) -> Iterator[Permit]:
    """The permits of `include:nsid?aud=…`, as far as a set may give them: in its own group of names."""
    resource, nsid, parameters = _taken_apart(word)
    nsid = nsid or next(iter(parameters.get("nsid", [])), "")
    definition = definitions.get(nsid, {})
    if resource != "include" or definition.get("type") != "permission-set":
        return
    group = nsid.rpartition(".")[0] + "."
    for entry in cast("list[Mapping[str, Any]]", definition.get("permissions", [])):
        match entry.get("resource"):
            case "repo":
                pairs = product(entry.get("collection", ()), entry.get("action", REPO_ACTIONS))
            case "rpc":
                audiences = parameters.get("aud", []) if entry.get("inheritAud") else [entry.get("aud", "")]
                pairs = product(entry.get("lxm", ()), audiences)
            case _:
                continue
        found = [Permit(entry["resource"], *pair) for pair in pairs]
        if all(permit.value.startswith(group) for permit in found):
            yield from _checked(found)


def _checked(found: Sequence[Permit]) -> Sequence[Permit]:
    """All of them, or none if one is nonsense."""
    return found if all(_is_sane(permit) for permit in found) else ()


def _is_sane(permit: Permit) -> bool:
    value, detail = permit.value, permit.detail
    match permit.resource:
        case "repo":
            return (value == "*" or is_nsid(value)) and detail in REPO_ACTIONS
        case "blob":
            kind, slash, subtype = value.partition("/")
            return bool(kind and slash and subtype) and (kind != "*" or subtype == "*")
        case "rpc":
            named = detail.startswith("did:") and "#" in detail
            return (value == "*" or is_nsid(value)) and (named or (detail == "*" and value != "*"))
        case "account":
            return value in ("email", "repo", "status") and detail in ("read", "manage")
        case _:
            return value in ("handle", "*")


def _allows(held: Permit, need: Permit) -> bool:
    if held == need:
        return True
    match held.resource, need.resource:
        case ("transition:generic", "repo" | "blob"):
            return True
        case ("transition:generic", "rpc"):
            return not need.value.startswith("chat.bsky.")
        case ("transition:chat.bsky", "rpc"):
            return need.value.startswith("chat.bsky.")
        case ("transition:email", "account"):
            return need.value == "email" and need.detail == "read"
        case ("repo", "repo"):
            return held.value == "*" and held.detail == need.detail
        case ("blob", "blob"):
            return _accepts(held.value.lower(), need.value.lower())
        case ("rpc", "rpc"):
            return held.value in ("*", need.value) and held.detail in ("*", need.detail)
        case ("account", "account"):
            return held.value == need.value and held.detail == "manage"
        case ("identity", "identity"):
            return held.value == "*"
        case _:
            return False


def _accepts(pattern: str, mime: str) -> bool:
    return pattern in ("*/*", mime) or (pattern.endswith("/*") and mime.startswith(pattern[:-1]))


def _taken_apart(word: str) -> tuple[str, str, Mapping[str, list[str]]]:
    """Resource, what stands after the colon, and the parameters, each percent-decoded."""
    head, _, query = word.partition("?")
    resource, _, positional = head.partition(":")
    parameters: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters.setdefault(name, []).append(value)
    return resource, unquote(positional), parameters


def _words(permits: Sequence[Permit]) -> Iterator[str]:
    """Words that allow the same: one for each collection with all of its actions."""
    actions: dict[str, list[str]] = {}
    for permit in permits:
        if permit.resource == "repo":
            actions.setdefault(permit.value, []).append(permit.detail)
        else:
            yield str(permit)
    for collection, named in actions.items():
        every = set(named) == set(REPO_ACTIONS)
        yield f"repo:{collection}" + ("" if every else "?" + "&".join(f"action={name}" for name in named))
