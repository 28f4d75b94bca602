"""What a sweep tells: its plan by site before it, a table of its jobs after it; each as a JSON document, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedchain.adapters.sweep_files import JobEnd
from fedchain.cli.display import metrics_text
from fedchain.cli.exits import Exit
from fedchain.cli.report import LEVEL, LEVEL_NOTE, METRICS_NOTE, verify_command
from fedchain.cli.screen import Screen
from fedchain.cli.text import delta_text, epsilon_number, epsilon_text, hex_id, short
from fedchain.core.errors import PolicyError
from fedchain.workflow.summary import SweepSiteSummary

_PLAN_HEADER = ("hospital", "jobs", "epsilon of one", "charged before", "epsilon in all", "delta", "unit", "grant")
_JOBS_HEADER = ("job", "overrides", "run", "rounds", "overall metrics", "epsilon", "state")


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as it stands: its overrides that vary, its run (hex, "" without one) and its end."""

    number: int
    varied: tuple[str, ...]
    config: bytes
    run: str
    end: JobEnd

    @property
    def name(self) -> str:
        """The overrides that vary, or what stands for none."""
        return " ".join(self.varied) or "(as composed)"

    @property
    def micro_epsilon(self) -> int:
        """The most that one site's dataset lost in this run."""
        return max(self.end.micro_epsilon.values(), default=0)


def plan_document(configs: Sequence[tuple[tuple[str, ...], bytes]], sites: Sequence[SweepSiteSummary],
                  refusals: Sequence[PolicyError]) -> dict[str, object]:  # fmt: skip
    """Return the JSON document of a dry run of a sweep."""
    return {
        "dry_run": True,
        "jobs": [{"overrides": list(varied), "config_digest": hex_id(digest.hex())} for varied, digest in configs],
        "privacy": {each.client: _site_document(each) for each in sites},
        "refusals": [str(each) for each in refusals],
    }


def show_plan(screen: Screen, jobs: int, sites: Sequence[SweepSiteSummary]) -> None:
    """Print what the unfinished jobs of a sweep would spend."""
    screen.line(f"Plan of a sweep of {jobs} jobs; nothing was run or spent.")
    screen.line()
    screen.table("Privacy that its unfinished jobs would spend, by hospital", _PLAN_HEADER, [_cells(e) for e in sites])


def document(sweep: str, rows: Sequence[JobRow], code: Exit, where: Mapping[str, str]) -> dict[str, object]:
    """Return the JSON document of a sweep; `where` has more about its home."""
    return {
        "sweep": sweep,
        "jobs": [_job_document(each) for each in rows],
        "exit": int(code),
        "metrics_note": METRICS_NOTE,
        "level": LEVEL,
        "level_note": LEVEL_NOTE,
        **where,
    }


def show(screen: Screen, sweep: str, rows: Sequence[JobRow], home: Path, *, is_default_home: bool) -> None:
    """Print the table of the jobs and how each of them is verified."""
    done = sum(each.end.state == "finished" for each in rows)
    screen.line()
    screen.table(
        f"Sweep {sweep}: {done} of {len(rows)} jobs finished ({LEVEL}; {METRICS_NOTE})",
        _JOBS_HEADER,
        [_row(each) for each in rows],
    )
    for each in rows:
        for line in each.end.errors:
            screen.line(f"job {each.number}: {line}")
    if done:
        screen.line(f"Verify a run: {run_command(home, '0xRUN', is_default_home=is_default_home)}")
    if done < len(rows):
        screen.line("Repeat the command to resume what is not finished.")


def run_command(home: Path, run: str, *, is_default_home: bool) -> str:
    """Return the command that verifies one run of a sweep."""
    return f"{verify_command(home, home / 'trust.json', is_default_home=is_default_home)} --run {run}"


def _job_document(row: JobRow) -> dict[str, object]:
    return {
        "job": row.number,
        "overrides": list(row.varied),
        "config_digest": hex_id(row.config.hex()),
        "run": hex_id(row.run) if row.run else "",
        "state": row.end.state,
        "exit": row.end.exit,
        "errors": list(row.end.errors),
        "rounds": row.end.rounds,
        "metrics": {name: float(text) for name, text in row.end.metrics.items()},
        "epsilon": {client: epsilon_number(value) for client, value in row.end.micro_epsilon.items()},
    }


def _row(row: JobRow) -> list[str]:
    is_done = row.end.state == "finished"
    return [
        str(row.number),
        row.name,
        short(f"0x{row.run}") if row.run else "-",
        str(row.end.rounds) if is_done else "-",
        metrics_text({name: float(text) for name, text in row.end.metrics.items()}) if is_done else "-",
        epsilon_text(row.micro_epsilon) if is_done else "-",
        row.end.state if is_done else f"{row.end.state} (exit {row.end.exit})",
    ]


def _site_document(each: SweepSiteSummary) -> dict[str, object]:
    return {
        "jobs": each.jobs,
        "epsilon_of_one_run": epsilon_number(each.micro_epsilon_run),
        "epsilon_charged": epsilon_number(each.micro_epsilon_charged),
        "epsilon_total": epsilon_number(each.micro_epsilon_total),
        "delta": each.delta_e12 / 10**12,
        "unit": each.unit,
        "grant": each.grant,
        "epsilon_grant": epsilon_number(each.micro_epsilon_grant),
        "level": LEVEL,
    }


def _cells(each: SweepSiteSummary) -> list[str]:
    scope = "a run" if each.grant == "sandbox" else "in all"
    return [
        each.client,
        str(each.jobs),
        epsilon_text(each.micro_epsilon_run),
        epsilon_text(each.micro_epsilon_charged),
        epsilon_text(each.micro_epsilon_total),
        delta_text(each.delta_e12),
        each.unit,
        f"{epsilon_text(each.micro_epsilon_grant)} {scope} ({each.grant})",
    ]
