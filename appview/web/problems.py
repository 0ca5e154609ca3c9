"""What went wrong, in words for the person whom it happened to."""

from __future__ import annotations

from dataclasses import dataclass

from appview.auth.grant import Refusal
from appview.rest.answers import Refused


@dataclass(frozen=True, slots=True)
class Problem:
    title: str
    advice: str


_AGAIN = "Please try again."
_THEIRS = "That is between you and the server of your account; its operators may know more."
_PROBLEMS = {
    Refusal.BAD_INPUT: Problem(
        "That is no handle.", "A handle looks like you.example.com. A DID or the address of a PDS works, too."
    ),
    Refusal.UNKNOWN_ACCOUNT: Problem(
        "There is no such account.", "Check the spelling; the handle must lead to an account, and back."
    ),
    Refusal.NO_SERVER: Problem("Your server offers no sign-in for other apps.", _THEIRS),
    Refusal.BAD_SERVER: Problem("Your server's sign-in breaks the rules.", _THEIRS),
    Refusal.UNREACHABLE: Problem("Your server does not answer.", "Please try again in a minute."),
    Refusal.BLOCKED: Problem("Your server is at an address that plyr does not visit.", _THEIRS),
    Refusal.SERVER_REFUSED: Problem("Your server refused.", _AGAIN),
    Refusal.DENIED: Problem("You said no.", "Nothing was changed, and plyr was given nothing."),
    Refusal.EXPIRED: Problem(
        "That is over.", "You have ten minutes for it, and it ends when you sign out here. " + _AGAIN
    ),
    Refusal.UNKNOWN_STATE: Problem(
        "This sign-in is over.", "It was finished before, or was never begun here. " + _AGAIN
    ),
    Refusal.OTHER_BROWSER: Problem(
        "This sign-in began in another browser.", "If that was not you, do nothing. Else begin here."
    ),
    Refusal.WRONG_ISSUER: Problem("Another server answered than the one you were sent to.", _AGAIN),
    Refusal.WRONG_ACCOUNT: Problem("You came back as another account.", "Sign in with the one you named."),
    Refusal.WRONG_SCOPE: Problem("That allows less than plyr needs.", "Allow all of it, or nothing."),
    Refusal.BAD_NONCE: Problem("Your server could not be satisfied.", _THEIRS),
    Refusal.BAD_TOKEN: Problem("Your server's answer makes no sense.", _THEIRS),
    Refusal.GRANT_GONE: Problem("Your server ended this session.", "Please sign in again."),
    "other_user": Problem(
        "You came back as another account.", "A token belongs to the account that you are signed in with."
    ),
    "session_expired": Problem("Your session is over.", "Please sign in again."),
    "scope_upgrade_required": Problem(
        "plyr may not do that yet.", "Allow what is missing, on your account page."
    ),
    "exchange": Problem("That token was shown before, or is too old.", "Make a new one."),
}
_UNKNOWN = Problem("That did not work.", _AGAIN)


def problem_of(code: str) -> Problem | None:
    """The problem that a code stands for; none for an empty one. Anybody can write a code into an address, so
    its own text is never shown."""
    return _PROBLEMS.get(code, _UNKNOWN) if code else None


def reason(refused: Refused) -> str:
    """Why a form was refused, as a sentence."""
    if isinstance(refused.detail, list):
        return " ".join(_told(each["type"], each["loc"][-1], each["msg"]) for each in refused.detail)
    told = refused.detail
    text = (told if isinstance(told, str) else told["message"]).removeprefix("failed to start OAuth flow: ")
    problem = _PROBLEMS.get(text.partition(":")[0])
    if problem is not None:
        return f"{problem.title} {problem.advice}"
    return sentence(text)


def _told(kind: str, name: str, text: str) -> str:
    return sentence(f"the {name} is missing" if kind == "missing" else f"the {name}: {text}")


def sentence(text: str) -> str:
    """A text for people as it stands alone on a page."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(("?", ".", "…")) else ".")
