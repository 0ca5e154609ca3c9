"""`plyr COMMAND`: finds the command's module, gives it its settings, and turns errors into one line.

Exit codes: 0 done, 1 it did not work out, 2 the command line or a setting is wrong, 130 interrupted.
A command's module has `add_arguments(parser)` and `run(args, settings) -> int`, and is
imported only when it is asked for; a group's module has `COMMANDS` instead.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import gc
import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from bin import VERSION
from bin.command import OF_ARCHIVE, OF_DATABASE, Command, Database

if TYPE_CHECKING:
    from bin.settings import Settings


COMMANDS = {
    "up": Command("bin.up", "run everything: read the network, index it, answer requests", settings=True),
    "ingest": Command("bin.ingest", "only read and index the network", True, "migrated", supervised=True),
    "web": Command("bin.web", "only answer requests", True, "migrated", supervised=True),
    "worker": Command("bin.worker", "only do jobs", True, "migrated", supervised=True),
    "scheduler": Command(
        "bin.scheduler", "only put the house's own jobs into the queue", True, "migrated", supervised=True
    ),
    "doctor": Command("bin.doctor", "look at everything that can be amiss, and say what to do", True),
    "sync": Command("bin.sync", "make the index whole: backfill and resync, and how that goes", group=True),
    "jobs": Command("bin.jobs", "what is being done for whom: look, retry, cancel", group=True),
    "archive": Command("bin.archive", "everything that happened, in Parquet files", group=True),
    "keys": Command("bin.keys", "the keys that seal what people trust us with", group=True),
    "token": Command("bin.tokens", "tokens that need no browser", group=True),
    "audit": Command(
        "bin.audit", "what happened to people's access, newest first", True, "there", OF_DATABASE
    ),
    "blobs": Command(
        "bin.blobs", "audio, images and exports: check them, remove what nobody needs", group=True
    ),
    "moderation": Command("bin.moderation", "what is judged: scans, cases, decisions", group=True),
    "moderation-service": Command(
        "bin.moderation_service", "only scan and label for other programs that have a key", True, "migrated"
    ),
    "transcoder": Command(
        "bin.transcoder",
        "only make MP3, WAV and M4A of what others send",
        True,
        shown=("host", "transcoder_port", "transcoder_key", "data_dir"),
    ),
    "migrate": Command(
        "bin.migrate", "bring the database to this version's tables", True, "open", OF_DATABASE
    ),
    "verify": Command(
        "bin.verify", "check a recorded firehose offline: hashes, signatures, trees", alone=True
    ),
    "capture": Command("bin.capture", "record a firehose into a file", alone=True),
    "rebuild": Command(
        "bin.rebuild",
        "compute all projections and counters anew from the records",
        True,
        "there",
        (*OF_DATABASE, "namespace"),
    ),
    "replay": Command(
        "bin.replay",
        "compute every table anew from the archive, and compare",
        True,
        "there",
        (*OF_ARCHIVE, "namespace"),
    ),
    "rewind": Command(
        "bin.rewind",
        "have a source read again from an earlier point",
        True,
        "there",
        (*OF_ARCHIVE, "dev_loopback"),
    ),
    "labeler": Command("bin.labeler", "what we are as a labeler, as the network sees it", group=True),
    "lexicon": Command(
        "bin.lexicon", "publish our schemas, and compare them with what is published", group=True
    ),
    "demo": Command("bin.demo", "run on a small real network of this machine, with tracks in it"),
    "test": Command("bin.tests", "run the tests; arguments go to pytest"),
    "bench": Command("bin.bench", "measure the hot paths against common ways of doing them"),
}

EPILOG = "plyr COMMAND --help says what a command takes; docs/settings.md lists every setting."


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage in front of it."""

    def error(self, message: str) -> NoReturn:
        print(f"plyr: {message} ({self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _choose("plyr", COMMANDS, arguments, "An AT Protocol appview for audio.")
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # the prompt comes on a line of its own, whatever was being told
        return 130
    except BrokenPipeError:
        # Whoever read us has seen enough. What is still buffered must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _choose(program: str, commands: Mapping[str, Command], arguments: list[str], description: str) -> int:
    """Run the command that `arguments` begin with; without one, say what there is."""
    parser = _overview(program, commands, description)
    if not arguments:
        parser.print_help()
        return 0
    name = arguments[0]
    if name not in commands:
        if name.startswith("-"):
            parser.parse_args(arguments)  # --help, --version, or an error
        near = difflib.get_close_matches(name, commands, 1)
        parser.error(f"unknown command {name}" + (f", did you mean {near[0]}?" if near else ""))
    command, program = commands[name], f"{program} {name}"
    summary = command.summary[0].upper() + command.summary[1:] + "."
    if command.group:
        return _choose(program, _loaded(command).COMMANDS, arguments[1:], summary)
    return _run(program, command, arguments[1:], summary)


def _overview(program: str, commands: Mapping[str, Command], description: str) -> argparse.ArgumentParser:
    width = max(map(len, commands))
    names = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in commands.items())
    parser = Parser(
        prog=program,
        usage=f"{program} COMMAND ...",
        description=description,
        epilog=f"commands:\n{names}\n\n{EPILOG.replace('plyr', program, 1)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"plyr {VERSION}")
    return parser


def _run(program: str, command: Command, arguments: list[str], summary: str) -> int:
    from bin import settings as settings_module  # here: `plyr` alone and --version are quick

    parser = Parser(prog=program, description=summary, allow_abbrev=False)
    module = _loaded(command)
    module.add_arguments(parser)
    if command.settings:
        own = parser.format_usage().removeprefix("usage: ").rstrip()
        parser.usage = f"{own} [--SETTING VALUE ...]".replace("%", "%%")
        _add_settings(parser, command.shown)
    if command.supervised:
        parser.add_argument("--status-fd", type=int, help=argparse.SUPPRESS)
    if command.module == "bin.tests":
        own = [argument for argument in arguments if argument in ("-h", "--help")]
        args = parser.parse_args(own)
        args.passed_on = arguments
    else:
        args = parser.parse_args(arguments)
    flags = {
        field: getattr(args, f"setting_{field}", None) for field in settings_module.Settings.model_fields
    }
    try:
        settings = settings_module.load(flags)
    except settings_module.SettingsError as error:
        print(f"plyr: {error}", file=sys.stderr)
        return 2
    supervised = getattr(args, "status_fd", None) is not None
    try:
        with _prepared("open" if supervised else command.database, settings) as ready:
            if supervised:
                from bin.status import end_with_parent

                end_with_parent(sys.stdin.fileno())
            return module.run(args) if command.alone else module.run(args, ready)
    except Exception as error:
        line = _explained(error)
        if line is None:
            raise
        print(f"plyr: {line}", file=sys.stderr)
        return 1


def _loaded(command: Command) -> ModuleType:
    """Its module. To look for garbage in what stays would take a tenth of the time."""
    gc.disable()
    try:
        return importlib.import_module(command.module)
    finally:
        gc.enable()


def _add_settings(parser: argparse.ArgumentParser, shown: Sequence[str]) -> None:
    """A flag for each field of the settings, of which help tells those in `shown`, or all; values stay text,
    the settings check them."""
    from bin.settings import Settings, flag, variable
    from bin.settings_page import shown_default

    group = parser.add_argument_group("settings", "each also as a variable, named at its end")
    for name, field in Settings.model_fields.items():
        text = f"{field.description} {shown_default(name)}[{variable(name)}]".replace("`", "").replace(
            "%", "%%"
        )
        text = text if not shown or name in shown else argparse.SUPPRESS
        options: dict[str, Any] = {"dest": f"setting_{name}", "help": text}
        if field.annotation is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["metavar"] = name.rpartition("_")[2].upper()
        group.add_argument(flag(name), **options)


@contextlib.contextmanager
def _prepared(database: Database, settings: Settings) -> Iterator[Settings]:
    """The settings with a database in them, as far as the command wants one; logging is set up."""
    from bin import logs

    logs.configure(settings.log_format, settings.log_level)
    if database == "no":
        yield settings
        return
    import asyncio

    from bin.database import opened
    from storage.migrate import migrate

    with opened(settings, make=database != "there") as ready:
        if database != "open" and ready.database_url:
            asyncio.run(migrate(ready.database_url))
        yield ready


def _explained(error: Exception) -> str | None:
    """One line for a person, for what can go wrong in any command; None for a defect of ours."""
    import psycopg

    from appview.auth.keyring import KeyRingError
    from bin.database import NoDatabase
    from lexicons.catalog import CatalogError
    from storage.binaries import EmbeddedFailed
    from storage.migrate import MigrationFailed

    if isinstance(error, NoDatabase | EmbeddedFailed | MigrationFailed | KeyRingError | CatalogError):
        return str(error)
    if isinstance(error, psycopg.OperationalError):
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"cannot use the database: {lines[0].removesuffix(' Is the server running locally')}"
    return None


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is closed and written. To free the rest piece by piece would take a third of a start and a stop.
    os._exit(code)
