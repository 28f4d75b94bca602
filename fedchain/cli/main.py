"""The entry of the command line: reads the arguments, runs one verb, maps what it raises to one line and a code.

This is the outermost edge: here alone every exception is caught. A user's mistake is one line; a crash of ours is one
line, too, with its traceback in a file.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol, TextIO

from fedchain import __version__
from fedchain.cli.arguments import Handler, Verbs
from fedchain.cli.exits import MEANING, Exit, exit_of_error, worst
from fedchain.cli.screen import Screen
from fedchain.core.errors import FedchainError, InputError

TEXT = """\
Federated learning whose whole record a stranger can recompute.

Hospitals train one model together and keep their rows. Every round is sealed on a ledger (an append-only record);
anyone who holds the stored files and one round hash from elsewhere can re-derive every model.

  fedchain run experiment=heart                     train across four hospitals
  fedchain verify --trust .fedchain/trust.json      re-derive the record and check it
  fedchain lineage                                  show how the newest model came to be
"""


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would print with its usage, so that wrong arguments end like any other wrong input."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message, remedy=f"see `{self.prog} --help`")


class Verb(Protocol):
    """A module of this package that adds one verb."""

    def add_parser(self, verbs: Verbs, /) -> None:
        """Add the verb with its handler."""
        ...


@dataclass(frozen=True, slots=True)
class Shipped:
    """A verb of this package, imported when it is wanted: the list of verbs answers at once."""

    name: str
    summary: str
    module: str = ""
    """Its module in this package, where that is not called as the verb."""

    def add_parser(self, verbs: Verbs, /) -> None:
        """Import the verb and add it."""
        verb: Verb = importlib.import_module(f"fedchain.cli.{self.module or self.name}")
        verb.add_parser(verbs)


VERBS: Final[tuple[Verb, ...]] = (
    Shipped("run", "run an experiment end to end"),
    Shipped("new", "write an experiment of your own to start from"),
    Shipped("runs", "list the runs of a home, compare two"),
    Shipped("plot", "draw the metrics and the privacy of runs"),
    Shipped("verify", "re-derive and check what is recorded"),
    Shipped("lineage", "show how a model came to be"),
    Shipped("rewards", "show what was earned, and have it paid"),
    Shipped("registry", "show who may take part, and change a site's entry"),
    Shipped("model", "approve models, and show their versions"),
    Shipped("erase", "destroy the keys of a round's updates"),
    Shipped("keys", "show, make, back up and restore secret keys"),
    Shipped("challenge", "hold people to what they signed"),
    Shipped("ledger", "show where the record is kept, prove a head"),
    Shipped("store", "move, check and keep house among the artifacts"),
    Shipped("audit", "hold the evidence of a model, release it", "holds"),
)


def main(argv: Sequence[str] | None = None, verbs: Sequence[Verb] = VERBS) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    screen = Screen(sys.stdout, sys.stderr, "--json" in arguments)
    try:
        code = _run(arguments, screen, verbs)
        screen.out.flush()
    except BrokenPipeError:
        return _closed(screen.out)
    except KeyboardInterrupt:
        _interrupted(screen)
        return Exit.INTERRUPTED
    return code


def parser(verbs: Sequence[Verb] = VERBS, wanted: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all verbs; of those that are imported later only the wanted one knows its arguments.

    Where `wanted` is None, each does.
    """
    codes = "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANING.items())
    top: argparse.ArgumentParser = _Parser(
        prog="fedchain",
        description=TEXT,
        epilog=f"exit codes, the same for every verb:\n{codes}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"fedchain {__version__}", help="print the version")
    below = top.add_subparsers(metavar="VERB", title="verbs", dest="verb", required=True)
    for verb in verbs:
        if isinstance(verb, Shipped) and wanted not in (None, verb.name):
            below.add_parser(verb.name, help=verb.summary)
        else:
            verb.add_parser(below)
    return top


def _run(arguments: Sequence[str], screen: Screen, verbs: Sequence[Verb]) -> int:
    try:
        options = _parsed(arguments, verbs)
        handler: Handler = options.handler
        return handler(options, screen)
    except SystemExit as done:  # argparse has printed the help or the version
        return done.code if isinstance(done.code, int) else Exit.DONE
    except (FedchainError, ExceptionGroup) as error:
        errors = list(_flat(error))
        if any(not isinstance(each, FedchainError) for each in errors):
            return _crashed(error, screen)
        return _told([each for each in errors if isinstance(each, FedchainError)], screen)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost edge: a crash of ours is one line with its own code
        return _crashed(error, screen)


def _parsed(arguments: Sequence[str], verbs: Sequence[Verb]) -> argparse.Namespace:
    """Parse; overrides may stand before and after flags, which argparse alone cannot do."""
    wanted = next((each for each in arguments if not each.startswith("-")), "")
    options, rest = parser(verbs, wanted).parse_known_args(arguments)
    if rest and (not hasattr(options, "overrides") or any(each.startswith("-") for each in rest)):
        wrong = next((each for each in rest if each.startswith("-")), rest[0])
        raise InputError(f"unknown argument {wrong[:80]}", remedy=f"see `fedchain {options.verb} --help`")
    if rest:
        options.overrides += rest
    return options


def _told(errors: Sequence[FedchainError], screen: Screen) -> Exit:
    """One line each on standard error, and a document where one is asked for."""
    code = worst(exit_of_error(each) for each in errors)
    for each in errors:
        screen.note(f"fedchain: {each}")
    if screen.as_json:
        screen.document({"errors": [_document(each) for each in errors], "exit": int(code)})
    return code


def _crashed(error: BaseException, screen: Screen) -> Exit:
    """Our own fault: a short line, and the traceback in a file of the user's."""
    descriptor, path = tempfile.mkstemp(prefix="fedchain-crash-", suffix=".txt", text=True)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(traceback.format_exception(error))
    line = f"{type(error).__name__}: {error}"
    screen.note(f"fedchain: a bug of fedchain ({line[:200]}); please report it with {path}")
    if screen.as_json:
        screen.document({"errors": [{"message": line[:200], "traceback": path}], "exit": int(Exit.BUG)})
    return Exit.BUG


def _interrupted(screen: Screen) -> None:
    line = "interrupted; nothing that was sealed is lost: repeat the command to resume"
    screen.note(f"fedchain: {line}")
    if screen.as_json:
        screen.document({"errors": [{"message": line}], "exit": int(Exit.INTERRUPTED)})


def _closed(out: TextIO) -> Exit:
    """The reader went away; Python must not complain when it flushes the rest at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    return Exit.CLOSED_PIPE


def _document(error: FedchainError) -> dict[str, object]:
    return {
        "message": str(error),
        "what": error.what,
        "expected": error.expected,
        "got": error.got,
        "remedy": error.remedy,
    }


def _flat(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _flat(each)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(main())
