"""The ClientApp: each message reaches its site's function, and whatever fails comes back as one line."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from clients.app import make_client_app
from fedchain.adapters.local_grid import LocalGrid
from fedchain.core import document
from fedchain.core.cid import Cid
from fedchain.core.record import LinkKind
from fedchain.core.task import RoundProof, Task, UpdateHeader
from fedchain.ports.cohort import Reply
from fedchain.ports.site_state import ChargeKey, Evidence
from fedchain.workflow.site import Site
from tests.doubles.cohort import DirectCohort
from tests.scenarios.federation import Federation, Setup, federation


class World:
    """A federation of one site whose own messages are caught, to be sent through the app."""

    def __init__(self) -> None:
        self.grid = LocalGrid(make_client_app(self.site_of), 1)
        self.federation: Federation = federation(Setup(sites=1, rounds=1, min_clients=1))
        self.tasks: list[Task] = []
        self.federation.cohort.tamper = self.listen
        self.federation.run()
        self.proof: RoundProof = self.federation.cohort.proofs[0][1]
        cid = self.federation.plan.manifest.initial_model.cid
        self.model = self.federation.store.get(Cid.parse(cid))

    def listen(self, task: Task, reply: Reply) -> list[Reply]:
        self.tasks.append(task)
        return [reply]

    @property
    def site(self) -> Site:
        return self.federation.members[0].site

    def site_of(self, context: Context) -> AbstractContextManager[Site]:
        assert context.node_config == {"partition-id": 0}
        return nullcontext(self.site)

    def ask(self, kind: str, **body: bytes | str) -> ConfigRecord:
        """Send a message and return the record of its reply."""
        return self.send(self.message(kind, **body))

    def message(self, kind: str, **body: bytes | str) -> Message:
        return Message(RecordDict({"fedchain": ConfigRecord(dict(body))}), 1, kind)

    def send(self, message: Message) -> ConfigRecord:
        (reply,) = self.grid.send_and_receive([message])
        return reply.content.config_records["fedchain"]


@pytest.fixture
def world() -> World:
    return World()


def test_a_task_is_answered_with_the_signed_update(world: World) -> None:
    task = world.tasks[0]
    record = world.ask("train", document=document.to_bytes(task), model=world.model)
    signed = world.site.contribute(task, world.model)
    header = document.to_bytes(signed.header)
    assert record == ConfigRecord({"header": header, "payload": signed.payload, "keys": signed.keys})


def test_a_control_reaches_the_site_and_one_that_no_task_names_is_refused_there(world: World) -> None:
    task = document.to_bytes(world.tasks[0])
    record = world.ask("train", document=task, model=world.model, control=b"control")
    assert str(record["error"]).startswith("control of the server: expected digest 00000000")
    record = world.ask("train", document=task, model=world.model, control="text")
    assert record == ConfigRecord({"error": "message train: expected bytes under 'control'"})


def test_a_promise_is_kept(world: World) -> None:
    run = world.federation.plan.manifest.run
    kept = world.site.state.kept(Evidence.PROMISE, run, 1)
    assert kept is not None
    world.federation.members[0].state.evidence.clear()
    world.grid.push_messages([world.message("query.promise", document=kept)])
    assert world.site.state.kept(Evidence.PROMISE, run, 1) == kept


def test_a_promise_that_the_site_refuses_ends_nothing(world: World) -> None:
    world.federation.members[0].state.evidence.clear()
    for body in (b"\xff", document.to_bytes(world.proof)):
        world.grid.push_messages([world.message("query.promise", document=body)])
    assert world.federation.members[0].state.evidence == {}


def test_a_proof_is_answered_with_the_sites_receipt(world: World) -> None:
    record = world.ask("query.countersign", document=document.to_bytes(world.proof))
    assert record == ConfigRecord(
        {"signer": world.site.device.address, "signature": world.site.countersign(world.proof)}
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("train", "Task is not JSON"),
        ("query.countersign", "RoundProof"),
    ],
)
def test_a_document_that_is_none_comes_back_as_one_line(world: World, kind: str, told: str) -> None:
    record = world.ask(kind, document=b"\xff", model=b"")
    (error,) = record.values()
    assert isinstance(error, str)
    assert error.startswith(told)
    assert "\n" not in error
    assert "Traceback" not in error


@pytest.mark.parametrize("kind", ["train", "query.countersign"])
def test_a_message_without_its_parts_comes_back_as_one_line(world: World, kind: str) -> None:
    for message in (Message(RecordDict(), 1, kind), Message(RecordDict({"fedchain": ConfigRecord({})}), 1, kind)):
        record = world.send(message)
        assert record == ConfigRecord({"error": f"message {kind}: expected bytes under 'document'"})


def test_a_part_of_another_type_comes_back_as_one_line(world: World) -> None:
    record = world.ask("train", document=document.to_bytes(world.tasks[0]), model="text")
    assert record == ConfigRecord({"error": "message train: expected bytes under 'model'"})


def test_what_the_site_refuses_comes_back_as_its_reason(world: World) -> None:
    late = replace(world.tasks[0], attempt=2, deadline=1)
    record = world.ask("train", document=document.to_bytes(late), model=world.model)
    (error,) = record.values()
    assert str(error).startswith("task is past its deadline: expected before 1")


def test_a_fork_is_refused_through_the_app_too(world: World) -> None:
    fork = replace(world.proof, model_digest=b"\x0f" * 32)
    record = world.ask("query.countersign", document=document.to_bytes(fork))
    assert list(record) == ["error"]


@pytest.mark.parametrize("kind", [0, 4, 99])
def test_no_link_of_an_unknown_kind_breaks_the_app(world: World, kind: int) -> None:
    assert kind not in set(LinkKind)
    record = world.ask("query.countersign", document=document.to_bytes(replace(world.proof, kind=kind)))
    assert list(record) == ["error"]


def test_the_app_and_the_direct_cohort_give_the_same_bytes(world: World) -> None:
    task = replace(world.tasks[0], round=5)
    record = world.ask("train", document=document.to_bytes(task), model=world.model)
    _, (reply,) = DirectCohort([world.site]).train(task, world.model, frozenset())  # the late ones come first
    assert (record["header"], record["payload"]) == (reply.header, reply.payload)
    header = document.from_bytes(UpdateHeader, reply.header)
    assert world.site.state.released(ChargeKey(task.run, 5, 1)) is not None
    assert header.message.round == 5
