"""What we tell of ourselves as a labeler, and what is said where there is nowhere to tell it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from appview.moderation import declaration
from appview.moderation.actions import LABELS
from appview.service import Home
from appview.wellknown import document_of, label_key_of
from bin.checkup.labelers import declares, heard
from bin.checkup.network import Answer
from bin.checkup.verdict import Verdict
from bin.cli import main
from bin.moderating import home
from bin.settings import SettingsError, load
from firehose.did_document import read_claims, read_labeler
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from storage.foreign_labels import Followed

DID, PDS = Did("did:web:plyr.example"), "https://pds.example"
KEY = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"
OTHER = "did:key:zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N"
WHEN = datetime(2026, 11, 29, tzinfo=UTC)
OURS = declaration.record(Catalog.load().collections, WHEN)


def test_every_label_that_follows_a_decision_is_declared_and_explained() -> None:
    policies = OURS["policies"]
    assert set(LABELS.values()) <= set(policies["labelValues"])
    explained = {each["identifier"]: each for each in policies["labelValueDefinitions"]}
    assert set(policies["labelValues"]) - set(explained) == set(declaration.EVERYBODYS)
    for each in explained.values():
        assert each["severity"] in ("inform", "alert", "none")
        assert each["blurs"] in ("content", "media", "none")
        assert [said["lang"] for said in each["locales"]] == ["en"]
    assert "fm.plyr.track" in OURS["subjectCollections"]


def test_when_it_was_said_first_makes_no_difference_and_all_else_does() -> None:
    later = declaration.record(Catalog.load().collections, datetime(2027, 1, 1, tzinfo=UTC))
    assert declaration.is_same(later, OURS)
    assert not declaration.is_same({**OURS, "policies": {}}, OURS)
    assert not declaration.is_same(None, OURS)


def test_without_a_repo_the_record_is_shown_and_why_it_is_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labeler", "publish", "--dry-run", "--public-url", "https://plyr.example"]) == 1
    said = capsys.readouterr()
    assert declaration.is_same(json.loads(said.out), OURS)
    assert said.err.startswith(f"plyr: {DID} has no repo: nobody hosts one for a did:web unless a PDS does.")
    assert main(["labeler", "publish", "--public-url", "https://plyr.example"]) == 1
    assert "PLYR_SERVICE_PDS" in capsys.readouterr().err


def test_without_a_public_address_there_is_nobody_to_declare_anything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_home = ("--service-pds", PDS, "--service-signing-key", KEY)
    for more in ((), at_home):
        assert main(["labeler", "publish", *more]) == 1
        assert capsys.readouterr().err.startswith(
            "plyr: PLYR_PUBLIC_URL is not set: without it we are did:web:"
        )


def test_a_pds_and_its_key_are_given_together() -> None:
    environ = {"PLYR_SERVICE_PDS": f"{PDS}/", "PLYR_SERVICE_SIGNING_KEY": KEY}
    assert home(load({}, environ)) == Home(PDS, KEY)
    assert home(load({}, {})) is None
    for name in environ:
        with pytest.raises(SettingsError, match="together"):
            load({}, {name: environ[name]})
    with pytest.raises(SettingsError, match="did:key"):
        load({}, environ | {"PLYR_SERVICE_SIGNING_KEY": KEY.removeprefix("did:key:")})
    with pytest.raises(SettingsError, match="PLYR_SERVICE_PDS"):
        load({}, environ | {"PLYR_SERVICE_PDS": "http://pds.example"})


def test_the_document_of_a_labeler_at_home_is_read_as_both() -> None:
    document = document_of(DID, "https://plyr.example", OTHER.removeprefix("did:key:"), Home(PDS, KEY))
    claims = read_claims(DID, document, development=False)
    labeler = read_labeler(DID, document, development=False)
    assert (claims.pds, claims.signing_key) == (PDS, KEY)
    assert (labeler.endpoint, labeler.label_key) == ("https://plyr.example", OTHER)
    assert label_key_of(document) == OTHER.removeprefix("did:key:")
    alone = document_of(DID, "https://plyr.example", None, Home(PDS, KEY))
    assert label_key_of(alone) is None
    assert "verificationMethod" not in document_of(DID, "https://plyr.example")


@pytest.mark.parametrize(
    ("status", "body", "verdict", "text"),
    [
        (200, {"value": OURS}, Verdict.OK, "declares our labels"),
        (200, {"value": {**OURS, "policies": {"labelValues": []}}}, Verdict.WARN, "is not ours"),
        (200, [], Verdict.WARN, "is not ours"),
        (400, {"error": "RecordNotFound"}, Verdict.WARN, "declares no labels"),
        (400, {"error": "RepoNotFound"}, Verdict.WARN, "does not know did:web:plyr.example: HTTP status 400"),
        (502, "", Verdict.WARN, "HTTP status 502"),
    ],
)
def test_what_the_repo_declares_is_ours(status: int, body: object, verdict: Verdict, text: str) -> None:
    found = declares(DID, PDS, Answer(status, {}, json.dumps(body).encode(), 0, 0), OURS)
    assert (found.verdict, text in found.text) == (verdict, True)
    assert (found.todo is None) == (verdict is Verdict.OK)


def test_those_that_are_followed_are_told_of_with_what_did_not_hold() -> None:
    one, two, three = (Did(f"did:web:{name}.example") for name in ("one", "two", "three"))
    known = [Followed(one, 1200, 60, 0, None), Followed(two, 7, 60, 3, "the signature does not hold")]
    found = heard([one, two, three], known)
    assert [each.verdict for each in found] == ["ok", "warn", "warn"]
    assert found[0].text == f"{one} is heard up to 1,200, 60 s ago"
    assert found[1].text.endswith("3 labels did not hold, the last: the signature does not hold")
    assert found[2].text == f"nothing of {three} was ever heard"
    assert [each.verdict for each in heard([], known)] == ["skip"]
