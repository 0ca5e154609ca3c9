"""What a change of a schema breaks (/specs/lexicon#lexicon-evolution): `broken(before, after)`, pure.

The rule: what was written by the old schema holds by the new one, and what is written by the new one holds
by the old. So a constraint may neither be narrowed nor widened where both ends of a conversation may be
old. Only one direction counts where we are always the newer end:

    where                         narrowed breaks      widened breaks
    records, shared definitions   yes                  yes
    parameters, input             yes: old callers     no
    output, messages              no                   yes: old readers

Free everywhere: new optional fields, new definitions and schemas, known values, defaults, prose, names of
errors, members of an open union. Never free: a field or definition that goes, another type, another ref:
its name may be read for ever. A permission set may grow; who asked for it loses by what it drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from fnmatch import fnmatchcase
from typing import Any, cast

Schema = Mapping[str, Any]

_LEAST = ("minimum", "minLength", "minGraphemes")
_MOST = ("maximum", "maxLength", "maxGraphemes", "maxSize")


class Rule(StrEnum):
    """What may not be done."""

    GONE = "gone"  # a field, a definition, a schema, a body
    TYPE = "type"  # another type, or another schema behind a ref
    REQUIRED = "required"
    NULLABLE = "nullable"
    CONST = "const"
    ENUM = "enum"
    FORMAT = "format"
    BOUND = "bound"  # least or most
    ACCEPT = "accept"  # media types of a blob
    UNION = "union"  # closed, opened, or with other members while closed
    KEY = "key"  # what names a record
    ENCODING = "encoding"
    PERMISSION = "permission"


@dataclass(frozen=True, slots=True)
class Breach:
    """One change that breaks somebody. `path` is where in the document; `what` says it for a person."""

    path: str
    rule: Rule
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class _Side(Enum):
    """Who may be older than us: everybody, who writes to us, or who reads what we write."""

    BOTH = (True, True)
    CALLERS = (True, False)
    READERS = (False, True)

    @property
    def narrowing(self) -> bool:
        return self.value[0]

    @property
    def widening(self) -> bool:
        return self.value[1]


def broken(before: Schema, after: Schema) -> list[Breach]:
    """Every breach between two versions of one schema document; both were checked (`schema`)."""
    return list(_definitions(before["defs"], after["defs"]))


def _definitions(before: Mapping[str, Schema], after: Mapping[str, Schema]) -> Iterator[Breach]:
    for name, old in before.items():
        if name not in after:
            yield Breach(name, Rule.GONE, "is not there any more")
        else:
            yield from _compared(old, after[name], name, _Side.BOTH)


def _compared(old: Schema, new: Schema, path: str, side: _Side) -> Iterator[Breach]:
    kind = old["type"]
    if kind != new["type"]:
        yield Breach(path, Rule.TYPE, f"was {kind}, is {new['type']}")
        return
    match kind:
        case "record":
            if old["key"] != new["key"]:
                yield Breach(path, Rule.KEY, f"records were named by {old['key']}, are by {new['key']}")
            yield from _compared(old["record"], new["record"], path, side)
        case "query" | "procedure" | "subscription":
            yield from _method(old, new, path)
        case "permission-set":
            yield from _permissions(old, new, path)
        case "object":
            yield from _fields(old, new, path, side)
        case "array":
            yield from _constraints(old, new, path, side)
            yield from _compared(old["items"], new["items"], f"{path}[]", side)
        case "ref":
            if old["ref"] != new["ref"]:
                yield Breach(path, Rule.TYPE, f"was {old['ref']}, is {new['ref']}")
        case "union":
            yield from _union(old, new, path, side)
        case _:
            yield from _constraints(old, new, path, side)


def _fields(old: Schema, new: Schema, path: str, side: _Side) -> Iterator[Breach]:
    fields, later = old.get("properties", {}), new.get("properties", {})
    for name, field in fields.items():
        if name not in later:
            yield Breach(f"{path}.{name}", Rule.GONE, "is not there any more")
        else:
            yield from _compared(field, later[name], f"{path}.{name}", side)
    was, now = set(old.get("required", ())), set(new.get("required", ()))
    if side.narrowing:
        for name in sorted(now - was):
            yield Breach(f"{path}.{name}", Rule.REQUIRED, "is required, and was not")
    if side.widening:
        for name in sorted((was - now) & set(later)):
            yield Breach(f"{path}.{name}", Rule.REQUIRED, "was required, and is not")
    was, now = set(old.get("nullable", ())), set(new.get("nullable", ()))
    if side.narrowing:
        for name in sorted((was - now) & set(later)):
            yield Breach(f"{path}.{name}", Rule.NULLABLE, "could be null, and cannot")
    if side.widening:
        for name in sorted((now - was) & set(fields)):
            yield Breach(f"{path}.{name}", Rule.NULLABLE, "can be null, and could not")


def _method(old: Schema, new: Schema, path: str) -> Iterator[Breach]:
    nothing: Schema = {"type": "params"}
    yield from _fields(
        old.get("parameters", nothing), new.get("parameters", nothing), f"{path}.parameters", _Side.CALLERS
    )
    yield from _body(old, new, path, "input", _Side.CALLERS)
    yield from _body(old, new, path, "output", _Side.READERS)
    yield from _body(old, new, path, "message", _Side.READERS)


def _body(old: Schema, new: Schema, path: str, name: str, side: _Side) -> Iterator[Breach]:
    at = f"{path}.{name}"
    if name not in old:
        if name in new and side.narrowing:
            yield Breach(at, Rule.REQUIRED, "is asked for, and was not")
        return
    if name not in new:
        yield Breach(at, Rule.GONE, "is not there any more")
        return
    was, now = old[name], new[name]
    if was.get("encoding") != now.get("encoding"):
        yield Breach(at, Rule.ENCODING, f"was {was.get('encoding')}, is {now.get('encoding')}")
    if "schema" in was and "schema" in now:
        yield from _compared(was["schema"], now["schema"], at, side)
    elif "schema" in was and side.widening:
        yield Breach(at, Rule.GONE, "says no more what it holds")
    elif "schema" in now and side.narrowing:
        yield Breach(at, Rule.TYPE, "could hold anything, and cannot")


def _union(old: Schema, new: Schema, path: str, side: _Side) -> Iterator[Breach]:
    was_closed, is_closed = old.get("closed", False), new.get("closed", False)
    if is_closed and not was_closed and side.narrowing:
        yield Breach(path, Rule.UNION, "is closed, and was open")
    if was_closed and not is_closed and side.widening:
        yield Breach(path, Rule.UNION, "is open, and was closed")
    if was_closed and is_closed:
        was, now = set(old["refs"]), set(new["refs"])
        if side.narrowing:
            for ref in sorted(was - now):
                yield Breach(path, Rule.UNION, f"lost {ref}")
        if side.widening:
            for ref in sorted(now - was):
                yield Breach(path, Rule.UNION, f"got {ref}, and is closed")


def _constraints(old: Schema, new: Schema, path: str, side: _Side) -> Iterator[Breach]:
    """What a value itself may be, without what is inside of it."""
    for name in _LEAST:
        yield from _bound(name, old.get(name), new.get(name), path, side, up_is_narrower=True)
    for name in _MOST:
        yield from _bound(name, old.get(name), new.get(name), path, side, up_is_narrower=False)
    for name, rule in (("const", Rule.CONST), ("format", Rule.FORMAT)):
        was, now = old.get(name), new.get(name)
        narrowed, widened = now is not None and was != now, was is not None and was != now
        if (narrowed and side.narrowing) or (widened and side.widening):
            yield Breach(path, rule, f"{name} was {_shown(was)}, is {_shown(now)}")
    yield from _allowed("enum", Rule.ENUM, old, new, path, side)
    yield from _allowed("accept", Rule.ACCEPT, old, new, path, side)


def _bound(
    name: str, was: int | None, now: int | None, path: str, side: _Side, *, up_is_narrower: bool
) -> Iterator[Breach]:
    """A least or a most; None is no bound at all."""
    if was == now:
        return
    narrowed = was is None if was is None or now is None else (now > was) == up_is_narrower
    if side.narrowing if narrowed else side.widening:
        yield Breach(path, Rule.BOUND, f"{name} was {_shown(was)}, is {_shown(now)}")


def _allowed(name: str, rule: Rule, old: Schema, new: Schema, path: str, side: _Side) -> Iterator[Breach]:
    """The list of what is allowed; without one, everything is."""
    was, now = old.get(name), new.get(name)
    if side.narrowing:
        for value in _missing(was, now):
            yield Breach(path, rule, f"{name} lost {value}")
    if side.widening:
        for value in _missing(now, was):
            yield Breach(path, rule, f"{name} got {value}")


def _missing(some: Sequence[object] | None, others: Sequence[object] | None) -> list[str]:
    """What `some` allow and `others` don't; None allows everything."""
    if others is None:
        return []
    if some is None:
        return ["everything else"]
    return [str(value) for value in some if not _covered(value, others)]


def _covered(value: object, allowed: Sequence[object]) -> bool:
    """Whether the list has the value, or a pattern of media types that it falls under."""
    if value in allowed:
        return True
    patterns = [item for item in allowed if type(item) is str and item.endswith("/*")]
    return type(value) is str and any(fnmatchcase(value, pattern) for pattern in patterns)


def _permissions(old: Schema, new: Schema, path: str) -> Iterator[Breach]:
    for right in sorted(_rights(old) - _rights(new)):
        yield Breach(path, Rule.PERMISSION, f"no longer allows {' '.join(right)}")


def _rights(schema: Schema) -> set[tuple[str, ...]]:
    """A set of permissions taken apart: one tuple for each thing that may be done to one thing."""
    rights: set[tuple[str, ...]] = set()
    for permission in cast("list[Schema]", schema["permissions"]):
        resource = str(permission["resource"])
        audience = str(permission.get("aud", "inherited" if permission.get("inheritAud") else ""))
        objects = [*permission.get("collection", ()), *permission.get("lxm", ())] or [""]
        actions = permission.get("action") or (["create", "update", "delete"] if resource == "repo" else [""])
        rights |= {
            tuple(word for word in (resource, action, name, audience) if word)
            for name in objects
            for action in actions
        }
    return rights


def _shown(value: object) -> str:
    return "anything" if value is None else str(value)
