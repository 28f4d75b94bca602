"""One seed, no privacy: whatever carries the replies, in whatever order, on however many threads, one ledger head."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest
from flwr.app import Context

from clients.app import make_client_app
from fedchain.adapters.local_grid import LocalGrid
from fedchain.adapters.threads import run_all_on
from fedchain.core.lineage import Verdict
from fedchain.workflow.site import Site
from server.cohort import FlowerCohort
from tests.scenarios.federation import Federation, Setup, federation


def setup(threads: int = 1) -> Setup:
    return Setup(rounds=2, epsilon=None, threads=run_all_on(threads))


def heads(new: Federation) -> list[tuple[bytes, bytes]]:
    """Return the model digest and the round hash of every link, after a check of the whole record."""
    new.check()
    assert new.verify(trust=new.trust()).verdict is Verdict.VERIFIED
    return [(event.link.model_digest, event.round_hash) for event in new.links()]


def directly(order: Sequence[int] | None = None, threads: int = 1) -> list[tuple[bytes, bytes]]:
    new = federation(setup(threads))
    new.cohort.order = order
    new.run()
    return heads(new)


def through_flower(shuffle: int | None, threads: int) -> list[tuple[bytes, bytes]]:
    new = federation(setup(threads))

    def site_of(context: Context) -> AbstractContextManager[Site]:
        return nullcontext(new.members[int(context.node_config["partition-id"])].site)

    grid = LocalGrid(make_client_app(site_of), len(new.members), shuffle)
    new.machine(cohort=FlowerCohort(grid, new.clock)).run()
    return heads(new)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_order_of_the_replies_changes_no_hash(threads: int) -> None:
    expected = directly()
    for order in itertools.permutations([1, 2, 3]):
        assert directly(order, threads) == expected


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shuffle", [None, 1, 2, 3])
def test_flowers_grid_gives_the_same_ledger_head_as_direct_calls(shuffle: int | None, threads: int) -> None:
    assert through_flower(shuffle, threads) == directly()


def test_the_updates_do_change_the_model() -> None:
    """Otherwise one digest would prove nothing."""
    assert len({digest for digest, _ in directly()}) == 2
    new = federation(Setup(rounds=2, epsilon=None, sites=2))
    new.run()
    assert [event.link.model_digest for event in new.links()] != [digest for digest, _ in directly()]
