"""What the operator may ask of a service that runs, and nobody else."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lexicons.catalog import Catalog
from tests.integration.appview.auth.signing import House, bearer, detail, housed
from tests.integration.appview.auth.test_developer_tokens import FRONTEND, created

SECRET = "a secret of the operator"
KEY = {"X-Admin-Token": SECRET}
PASSWORD = {"Authorization": "Basic " + base64.b64encode(f"admin:{SECRET}".encode()).decode()}


@pytest.fixture
async def house(database: str, tmp_path: Path, catalog: Catalog) -> AsyncIterator[House]:
    async with housed(
        database, tmp_path / "encryption.keys", catalog, frontend_url=FRONTEND, admin_token=SECRET
    ) as house:
        yield house


async def test_the_operator_reads_what_happened_page_by_page(house: House):
    ann, bob, operator = await house.person(), await house.person(), await house.person("curl/8")
    await ann.sign_in("ann")
    await bob.sign_in("bob")
    page = (await operator.ask("GET", "/admin/audit", headers=KEY)).json
    assert [(one["event"], one["did"]) for one in page["events"]] == [
        ("signed_in", house.village.dids["bob"]),
        ("signed_in", house.village.dids["ann"]),
    ]
    assert page["before"] is None
    first = (await operator.ask("GET", "/admin/audit?limit=1", headers=PASSWORD)).json
    assert first["events"] == page["events"][:1]
    rest = (await operator.ask("GET", f"/admin/audit?limit=2&before={first['before']}", headers=KEY)).json
    assert (rest["events"], rest["before"]) == (page["events"][1:], None)
    anns = f"/admin/audit?did={house.village.dids['ann']}"
    assert (await operator.ask("GET", anns, headers=KEY)).json["events"] == page["events"][1:]


async def test_the_operator_ends_every_key_of_an_account_and_of_no_other(house: House):
    ann, elsewhere, bob = await house.person(), await house.person(server=1), await house.person()
    for person, name in ((ann, "ann"), (elsewhere, "ann"), (bob, "bob")):
        await person.sign_in(name)
    key = await created(ann)
    operator, did = await house.person("curl/8", server=1), house.village.dids["ann"]
    for ended in (3, 0):
        answer = await operator.ask("POST", "/admin/sessions/end", json={"did": did}, headers=KEY)
        assert answer.json == {"ended": ended}
    for person in (ann, elsewhere):
        assert (await person.ask("GET", "/auth/me")).status == 401
    program = await house.person("plyrfm/0.1")
    assert (await program.ask("GET", "/auth/me", headers=bearer(key))).status == 401
    assert (await bob.me())["did"] == house.village.dids["bob"]
    noted = (await operator.ask("GET", f"/admin/audit?did={did}&limit=1", headers=KEY)).json["events"]
    assert [(one["event"], one["client"]) for one in noted] == [("sessions_ended", "operator")]


async def test_whoever_has_not_the_secret_is_told_and_shown_nothing(house: House):
    ann = await house.person()
    await ann.sign_in("ann")
    whose = {"did": house.village.dids["ann"]}
    for headers in ({}, {"X-Admin-Token": "another secret than that"}):
        assert (await ann.ask("GET", "/admin/audit", headers=headers)).status == 401
        assert (await ann.ask("POST", "/admin/sessions/end", json=whose, headers=headers)).status == 401
    assert (await ann.me())["did"] == whose["did"]


async def test_a_page_elsewhere_cannot_use_the_password_that_a_browser_knows(house: House):
    operator = await house.person()
    foreign = PASSWORD | {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
    whose = {"did": house.village.dids["ann"]}
    assert (await operator.ask("POST", "/admin/sessions/end", json=whose, headers=foreign)).status == 403


@pytest.mark.parametrize(
    "query", ["did=ann", "did=%00", "limit=0", "limit=501", "before=9223372036854775808"]
)
async def test_a_page_that_cannot_be_is_refused(house: House, query: str):
    operator = await house.person("curl/8")
    answer = await operator.ask("GET", f"/admin/audit?{query}", headers=KEY)
    assert answer.status in (400, 422)
    assert detail(answer)[1]


@pytest.mark.parametrize("body", [{}, {"did": 5}, {"did": "ann.test"}])
async def test_an_end_of_nobodys_sessions_is_refused(house: House, body: dict[str, object]):
    operator = await house.person("curl/8")
    answer = await operator.ask("POST", "/admin/sessions/end", json=body, headers=KEY)
    assert answer.status in (400, 422)
    assert detail(answer)[1]
