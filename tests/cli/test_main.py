from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedchain import __version__
from fedchain.cli.arguments import Verbs, add_verb
from fedchain.cli.exits import Exit
from fedchain.cli.main import main, parser
from fedchain.cli.screen import Screen
from fedchain.core.errors import FedchainError, InputError, IntegrityError, PolicyError, UnreachableError
from tests.cli.samples import HOSTILE

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@dataclass(frozen=True)
class Failing:
    """A verb that ends as it was told to."""

    error: BaseException

    def add_parser(self, verbs: Verbs, /) -> None:
        add_verb(verbs, "fail", self.handle, summary="fails", text="Fails.")

    def handle(self, _options: argparse.Namespace, _screen: Screen) -> Exit:
        raise self.error


def ended(error: BaseException, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str, str]:
    code = main(["fail", *flags], [Failing(error)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("what"), 2),
        (PolicyError("what"), 4),
        (UnreachableError("what"), 5),
        (IntegrityError("what"), 1),
        (KeyboardInterrupt(), 130),
        (ExceptionGroup("several", [PolicyError("a"), InputError("b")]), 2),
        (ExceptionGroup("several", [PolicyError("a"), ExceptionGroup("inner", [UnreachableError("b")])]), 5),
        (ExceptionGroup("several", [IntegrityError("a"), PolicyError("b")]), 1),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else str(each),
)
def test_an_error_ends_with_its_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(error, capsys)[0] == code


def test_a_mistake_is_one_line_with_expectation_find_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    error = InputError("rounds", expected="a whole number", got="five", remedy="write rounds=5")
    code, out, err = ended(error, capsys)
    assert (code, out) == (2, "")
    assert err == "fedchain: rounds: expected a whole number, got five; write rounds=5\n"


def test_several_mistakes_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = ended(ExceptionGroup("two", [InputError("a"), InputError("b")]), capsys)
    assert err == "fedchain: a\nfedchain: b\n"


def test_with_json_a_mistake_is_also_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    error = ExceptionGroup("two", [InputError("a", expected="x", got="y", remedy="z"), PolicyError("b")])
    code, out, err = ended(error, capsys, "--json")
    assert json.loads(out) == {
        "errors": [
            {"message": "a: expected x, got y; z", "what": "a", "expected": "x", "got": "y", "remedy": "z"},
            {"message": "b", "what": "b", "expected": None, "got": None, "remedy": None},
        ],
        "exit": 2,
    }
    assert code == 2
    assert err.count("\n") == 2


def test_an_interrupt_says_how_to_resume_and_shows_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = ended(KeyboardInterrupt(), capsys)
    assert "repeat the command to resume" in err
    assert err.count("\n") == 1


def test_with_json_an_interrupt_is_also_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ended(KeyboardInterrupt(), capsys, "--json")
    assert json.loads(out)["exit"] == 130


@pytest.fixture
def crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("our fault"),
        AssertionError("our fault"),
        FedchainError("our fault: a root class"),
        ExceptionGroup("mixed", [InputError("a"), RuntimeError("our fault")]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_crash_of_ours_is_one_line_and_its_traceback_lies_in_a_file(
    error: Exception, capsys: pytest.CaptureFixture[str], crashes: Path
) -> None:
    code, out, err = ended(error, capsys)
    assert (code, out) == (70, "")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    if type(error) is not FedchainError:
        (path,) = crashes.iterdir()
        assert str(path) in err
        assert "Traceback" in path.read_text()
        assert "our fault" in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600


def test_with_json_a_crash_is_also_a_document(capsys: pytest.CaptureFixture[str], crashes: Path) -> None:
    _, out, _ = ended(RuntimeError(HOSTILE), capsys, "--json")
    found = json.loads(out)
    assert found["exit"] == 70
    assert Path(found["errors"][0]["traceback"]).parent == crashes


def test_hostile_strings_in_errors_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str], crashes: Path) -> None:
    for error in (InputError(HOSTILE, expected=HOSTILE, got=HOSTILE, remedy=HOSTILE), RuntimeError(HOSTILE)):
        for flags in ((), ("--json",)):
            _, out, err = ended(error, capsys, *flags)
            assert "\x1b" not in out + err
            assert "\u202e" not in out + err
            assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: VERB; see `fedchain --help`"),
        (["walk"], "argument VERB: invalid choice: 'walk'"),
        (["run", "--walk"], "unknown argument --walk; see `fedchain run --help`"),
        (["run", "rounds=3", "--fresh", "--walk", "seed=1"], "unknown argument --walk"),
        (["verify", "surplus"], "unknown argument surplus; see `fedchain verify --help`"),
        (["verify", "--head"], "argument --head: expected one argument; see `fedchain verify --help`"),
        (["verify", "--hea", "x"], "unknown argument --hea"),
        (["verify", "--head", "x"], "--head: expected 64 hexadecimal digits, got 'x'"),
        (["runs", "diff", "a"], "the following arguments are required: B; see `fedchain runs diff --help`"),
        (["lineage", "a", "b"], "unknown argument b"),
        (["run", "rounds=0"], "rounds: expected at least 1, got 0"),
        (["run", "rounds=3", "--fresh", "rounds=0"], "rounds: expected at least 1, got 0"),
        (["run", "--json", "--dry-run", "experiment=x"], "unknown choice for experiment: expected ai4i or heart"),
    ],
)
def test_wrong_arguments_are_wrong_input(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == Exit.INPUT
    out, err = capsys.readouterr()
    assert err.startswith(f"fedchain: {message}")
    assert err.count("\n") == 1
    if "--json" in arguments:
        assert json.loads(out)["exit"] == 2
    else:
        assert out == ""


@pytest.mark.parametrize("arguments", [["verify"], ["runs"], ["lineage"], ["runs", "diff", "a", "b"]])
@pytest.mark.parametrize("place", ["flag", "variable", "default"])
def test_a_missing_home_is_one_line_wherever_it_is_named(
    arguments: list[str],
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDCHAIN_HOME", raising=False)
    home = {"flag": "by-flag", "variable": "by-variable", "default": ".fedchain"}[place]
    if place != "default":
        monkeypatch.setenv("FEDCHAIN_HOME", "by-variable")
    flags = ["--home", "by-flag"] if place == "flag" else []
    assert main([*arguments, *flags]) == Exit.INPUT
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert f"no fedchain home here: expected a folder with home.json, got {home}; run an experiment first" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "place", [["runs", "--home", "here", "diff", "a", "b"], ["runs", "diff", "a", "b", "--home", "here"]]
)
def test_a_nested_verb_takes_the_home_before_and_after_it(
    place: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(place) == Exit.INPUT
    assert "got here;" in capsys.readouterr().err


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fedchain {__version__}\n"


@pytest.mark.parametrize("verb", [[], ["run"], ["runs"], ["runs", "diff"], ["verify"], ["lineage"]])
def test_every_verb_has_a_help_that_fits_the_screen(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: fedchain")
    assert max(map(len, out.splitlines())) <= 120


TALKER = """
import sys
from fedchain.cli.arguments import add_verb
from fedchain.cli.exits import Exit
from fedchain.cli.main import main

class Talker:
    def add_parser(self, verbs):
        add_verb(verbs, "talk", self.handle, summary="talks", text="Talks.")

    def handle(self, options, screen):
        for number in range(10**6):
            screen.line(f"line {number}")
        return Exit.DONE

sys.exit(main(["talk"], [Talker()]))
"""


def test_a_reader_that_goes_away_is_no_crash() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", TALKER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    with child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"line 0\n"
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == Exit.CLOSED_PIPE


def test_the_list_of_verbs_says_what_each_verb_says_of_itself() -> None:
    assert parser(wanted="").format_help() == parser().format_help()


HEAVY = ("torch", "opacus", "numpy", "scipy", "mlflow", "flwr", "web3", "eth", "hydra", "omegaconf", "pydantic", "rich")


def test_help_answers_at_once() -> None:
    """Processor time, the best of three: what else runs on the machine does not count."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "fedchain.cli.main", "--help"], env=ENVIRONMENT, check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.3


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from fedchain.cli.main import main; main(['--help']); "
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, check=True, capture_output=True)
    assert said.stderr.decode().strip() == "[]"


def test_no_module_of_the_command_line_prints_a_terminal_escape_itself() -> None:
    folder = Path(__file__).resolve().parents[2] / "fedchain" / "cli"
    for path in folder.glob("*.py"):
        assert not re.search(r"\\x1b|\\033", path.read_text())
