"""The JSON of what somebody who is signed in has here, and what becomes of it; see `appview.rest.shapes`."""

from __future__ import annotations

from typing import Any

import msgspec


class MigrationCheck(msgspec.Struct):
    needs_migration: bool
    old_record_count: int
    old_collection: str | None
    new_collection: str
    did: str


class Migrated(msgspec.Struct):
    migrated_count: int
    deleted_count: int
    failed_count: int
    remaining_count: int
    errors: list[str]


class Preferences(msgspec.Struct):
    accent_color: str
    auto_advance: bool
    allow_comments: bool
    theme: str
    download_policy: str | None
    hidden_tags: list[str]
    enable_teal_scrobbling: bool
    teal_needs_reauth: bool
    show_sensitive_artwork: bool
    show_sensitive_audio: bool
    show_liked_on_profile: bool
    support_url: str | None
    ui_settings: dict[str, Any]
    terms_accepted_at: str | None


class TermsAccepted(msgspec.Struct):
    terms_accepted_at: str


class AuthUrl(msgspec.Struct):
    """Where a browser goes on."""

    auth_url: str


class Account(msgspec.Struct):
    did: str
    handle: str
    avatar_url: str | None


class Me(msgspec.Struct):
    did: str
    handle: str
    linked_accounts: list[Account]
    enabled_flags: list[str]
    permissioned_spaces: dict[str, bool]


class SessionKey(msgspec.Struct):
    session_id: str


class DeveloperToken(msgspec.Struct):
    session_id: str
    name: str | None
    created_at: str
    expires_at: str | None


class DeveloperTokens(msgspec.Struct):
    tokens: list[DeveloperToken]


class Switched(msgspec.Struct):
    did: str
    handle: str
    session_id: str


class PdsOptions(msgspec.Struct):
    enabled: bool
    options: list[dict[str, str]]


class Deleted(msgspec.Struct):
    deleted: dict[str, int]
    finished: bool
    warnings: list[str]


class ExportQueued(msgspec.Struct):
    export_id: str
    status: str
    message: str
    track_count: int


class AuditEvent(msgspec.Struct):
    id: int
    at: str
    event: str
    did: str | None
    session: int | None
    client: str | None
    detail: dict[str, Any]


class AuditLog(msgspec.Struct):
    """`before`: where it goes on, null at the end."""

    events: list[AuditEvent]
    before: int | None


class Ended(msgspec.Struct):
    ended: int
