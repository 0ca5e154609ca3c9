"""Writes docs/xrpc.md from the lexicons: `python -m appview.xrpc.reference`. A test compares the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lexicons.catalog import Catalog, MethodDef

PAGE = Path(__file__).parents[2] / "docs" / "xrpc.md"
EXAMPLES = {
    "actor": "alice.example.com",
    "actors": "alice.example.com",
    "uri": "at://alice.example.com/fm.plyr.track/3jzfcijpj2z2a",
    "uris": "at://alice.example.com/fm.plyr.track/3jzfcijpj2z2a",
    "list": "at://alice.example.com/fm.plyr.list/3jzfcijpj2z2a",
    "q": "night+ferry",
    "title": "Night+Ferry",
    "id": "0b8f2f4e-6f0c-4b5e-9a57-0f6f1f0f3c11",
}
INTRO = """\
# XRPC

Generated from `lexicons/`; do not edit, run `python -m appview.xrpc.reference`.

Every query is `GET /xrpc/NSID`, every procedure `POST /xrpc/NSID`, as the AT Protocol's
[XRPC](https://atproto.com/specs/xrpc) says, from any origin. Queries about what everybody may see answer
without signing in; whoever says who they are is shown in `viewer` what they did themselves. Answers are JSON,
compressed with gzip for clients that ask for it. One method is [a live feed](live-feed.md) over a WebSocket.

- **Accounts** are named by handle or DID (`actor`), records by AT-URI; its authority may be a handle.
- **Arrays** repeat the parameter: `?uris=…&uris=…`. Unknown parameters are ignored.
- **Pages**: `limit` says how many at most; where more may follow, the answer has a `cursor`. Give it back
  with all other parameters unchanged. It stays good for ever; nothing that was there all along is repeated
  or skipped, whatever is added and removed meanwhile.
- **Hidden things**: what its author deleted, and everything of accounts that are deactivated, suspended or
  taken down, is absent from all answers and counts.
- **Who asks** is said in one of these ways; an answer to somebody is `Cache-Control: private`.
  - Through one's own PDS: send it the request with its own authorization, and with the header
    `atproto-proxy: DID#plyr_appview`; DID is this service's (`fm.plyr.server.describe` has it). The PDS
    passes it on and signs who asks.
  - A service token (`com.atproto.server.getServiceAuth` at one's PDS), as `Authorization: Bearer TOKEN`. It
    must be for this service (`aud`, with or without `#plyr_appview`) and for the method (`lxm`), and is good
    once.
  - A session or a developer token, as `Authorization: Bearer TOKEN`; a browser's session as a cookie, too.
- **`Atproto-Repo-Rev`** says up to which rev this service has all that the asker's own repo holds; it never
  goes back. It is absent while that is not known.
- **`atproto-accept-labelers`** is a list of DIDs (RFC 8941; `;redact` to have left out what they take down).
  The first twenty count, and come back in `Atproto-Content-Labelers`.
- **Limits**: `RateLimit-Limit`, `-Remaining`, `-Reset` (seconds since 1970) and `-Policy` tell what is left
  to the account, or to the address of nobody in particular.
- **Bodies** of procedures need a `Content-Type`, and are not compressed. JSON has up to 1 MiB; anything else
  streams, as large as `fm.plyr.audio.getLimits` says.
- **Errors** are `{"error": name, "message": text}`. Those that a method names below have status 400, unless
  they are in this table. Any method may answer:

| Error | Status | |
| --- | --- | --- |
| `InvalidRequest` | 400 | a parameter or the cursor is malformed or missing, or the verb is wrong |
| `MethodNotImplemented` | 501 | there is no such method here |
| `AuthenticationRequired` | 401 | no `Bearer` token in `Authorization`, or none where the method needs one |
| `InvalidToken` | 401 | no session or developer token, or not any more |
| `BadJwt` | 401 | a service token that is malformed, has no end or no id, or was used before |
| `BadJwtType` | 401 | a token for another purpose |
| `JwtExpired` | 401 | a service token that is too old |
| `BadJwtAudience` | 401 | a token for another service |
| `BadJwtLexiconMethod` | 401 | a token for another method, or for any |
| `BadJwtIss` | 401 | a token of nobody whose key is known |
| `BadJwtSignature` | 401 | a token that somebody else signed |
| `ForeignOrigin` | 403 | a page of another origin wants to change something with a visitor's cookie |
| `RateLimitExceeded` | 429 | too many requests; try again after `Retry-After` seconds |
| `UpstreamFailure` | 502 | whoever knows a token's issuer gives no answer; try again after `Retry-After` |
| `SignInNeeded` | 403 | this server has no grant to act for the account |
| `ScopeMissing` | 403 | what was granted does not cover this |
| `RequestTimeout` | 408 | the head of the request, or its JSON, did not come within a minute |
| `PayloadTooLarge` | 413 | the body is larger than it may be |
| `TooManyUploads` | 429 | the account has as many unfinished uploads as it may have |
| `InternalServerError` | 500 | a bug; the message has an id that the server's log has too |
| `ServiceUnavailable` | 503 | the database cannot be reached; try again after `Retry-After` seconds |
| `NotCountedYet` | 503 | a job has to count first, and will; try again after `Retry-After` seconds |
| `UpstreamTimeout` | 504 | the database took too long; try again after `Retry-After` seconds |

Other addresses: `/xrpc/_health` (200 with the version; 503 if the database does not answer),
`/.well-known/did.json` (the service's DID document, at its own host), `/metrics` (Prometheus), `/robots.txt`.
"""


def reference(catalog: Catalog) -> str:
    """The whole page."""
    methods = [*catalog.queries(), *catalog.procedures(), *catalog.subscriptions()]
    own = sorted(nsid for nsid in methods if nsid.startswith(f"{catalog.namespace}."))
    lines = [INTRO, "| Method | |", "| --- | --- |"]
    for nsid in own:
        summary = catalog.methods[nsid].description.partition(". ")[0].rstrip(".")
        lines.append(f"| [`{nsid}`](#{_anchor(nsid)}) | {summary} |")
    lines.append("")
    for nsid in own:
        lines += _method(catalog, catalog.methods[nsid])
    lines += ["# Objects", ""]
    objects = [ref for ref in catalog.definitions if "#" in ref and ref.startswith(f"{catalog.namespace}.")]
    for ref in sorted(objects):
        definition = catalog.definition(ref)
        if definition["type"] == "object" and (".defs#" in ref or ref.partition("#")[0] in own):
            lines += [f"## {ref}", "", definition["description"], "", *_fields(definition, ref), ""]
    return "\n".join(lines).rstrip() + "\n"


def _anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    return "".join(c for c in heading.lower() if c.isalnum() or c == "-")


def _method(catalog: Catalog, method: MethodDef) -> Iterator[str]:
    definition = catalog.definition(method.nsid)
    yield f"## {method.nsid}"
    yield ""
    yield method.description
    yield ""
    parameters = definition.get("parameters", {})
    if parameters:
        yield "Parameters:"
        yield ""
        yield from _fields(parameters, method.nsid)
        yield ""
    if method.input is not None:
        yield f"Body: `{method.input}`."
        yield ""
    schema = definition.get("output", {}).get("schema")
    if method.kind == "subscription":
        kinds = ", ".join(f"`{ref}`" for ref in definition["message"]["schema"]["refs"])
        yield f"Messages: {kinds}; see [the live feed](live-feed.md)."
    elif schema is None:
        yield f"Answer: `{method.output}`."
    elif schema["type"] == "ref":
        yield f"Answer: {_kind(schema, method.nsid)}."
    else:
        yield "Answer:"
        yield ""
        yield from _fields(schema, method.nsid)
    yield ""
    if method.errors:
        named = [f"`{error['name']}` ({error['description'].rstrip('.')})" for error in definition["errors"]]
        yield f"Errors: {', '.join(named)}."
        yield ""
    required = parameters.get("required", ())
    query = "&".join(f"{name}={EXAMPLES[name]}" for name in required)
    if "limit" in parameters.get("properties", {}):
        query += ("&" if query else "") + "limit=10"
    if method.kind == "procedure":
        yield "```sh"
        yield f"curl 'http://127.0.0.1:8000/xrpc/{method.nsid}?{query}' -H 'Authorization: Bearer TOKEN' \\"
        yield "    -H 'Content-Type: audio/flac' --data-binary @ferry.flac"
        yield "```"
        yield ""
        return
    if method.kind == "subscription":
        yield "```sh"
        yield f"python -m websockets 'ws://127.0.0.1:8000/xrpc/{method.nsid}?cursor=0&format=json'"
        yield "```"
        yield ""
        return
    address = f"http://127.0.0.1:8000/xrpc/{method.nsid}" + (f"?{query}" if query else "")
    yield "```sh"
    yield f"curl '{address}'" + (" -o proof.car" if schema is None else "")
    yield "```"
    yield ""


def _fields(schema: Mapping[str, Any], home: str) -> Iterator[str]:
    yield "| | | |"
    yield "| --- | --- | --- |"
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        optional = "" if name in required else ", optional"
        yield f"| `{name}` | {_kind(field, home)}{optional} | {field.get('description', '')} |"


def _kind(field: Mapping[str, Any], home: str) -> str:
    """What a field is, with its limits."""
    kind = field["type"]
    if kind == "ref":
        ref = field["ref"]
        ref = home.partition("#")[0] + ref if ref.startswith("#") else ref
        shown = ref.rpartition(".")[2] if ".defs#" not in ref else "#" + ref.partition("#")[2]
        return f"[{shown}](#{_anchor(ref)})" if not ref.startswith("com.") else f"`{ref}`"
    if kind == "array":
        few, most = field.get("minLength"), field.get("maxLength")
        bounds = f", {few or 0} to {most}" if most else ""
        return f"array of {_kind(field['items'], home)}{bounds}"
    if kind == "unknown":
        return "object"
    text = field.get("format", kind)
    if "minimum" in field and "maximum" in field:
        text += f", {field['minimum']} to {field['maximum']}"
    if "default" in field:
        text += f", else {field['default']}"
    if "knownValues" in field:
        text += ", as " + ", ".join(f"`{value}`" for value in field["knownValues"])
    return text


if __name__ == "__main__":
    PAGE.write_text(reference(Catalog.load()))
