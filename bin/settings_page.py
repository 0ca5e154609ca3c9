"""How settings are told: in a command's `--help`, and as the page `docs/settings.md`, which
`python -m bin.settings_page` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args, get_origin

from bin.settings import DEVELOPER_VARIABLES, ROOT, SECRET_VARIABLES, Settings, flag, variable


def shown_default(field: str) -> str:
    """A field's choices and default as a person reads them, with a space at the end if there are any."""
    info = Settings.model_fields[field]
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    text = f"One of {', '.join(map(str, choices))}. " if choices else ""
    if info.default is None or info.default is False or info.default == ():
        return text
    default = info.default
    if isinstance(default, tuple):
        default = ",".join(default)
    elif isinstance(default, Path):
        default = f"{default.relative_to(ROOT)} beside the program"
    return f"{text}Default: {default}. "


def reference() -> str:
    """The page `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Each is a variable, and a flag of every command that works on the database; the flag wins. A",
        "command's `--help` lists those that matter to it. An unknown `PLYR_*` variable, or a value that",
        "cannot be, ends the program with one line and exit code 2.",
        "",
        "| Flag | Variable | |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        text = f"{field.description} {shown_default(name)}".rstrip()
        lines.append(f"| `{flag(name)}` | `{variable(name)}` | {text} |")
    lines += ["", "Secrets of one command, which are no flags:", "", "| Variable | |", "| --- | --- |"]
    lines += [f"| `{name}` | {text} |" for name, text in SECRET_VARIABLES.items()]
    lines += ["", "For tests and development:", "", "| Variable | |", "| --- | --- |"]
    lines += [f"| `{name}` | {text} |" for name, text in DEVELOPER_VARIABLES.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "settings.md").write_text(reference())
