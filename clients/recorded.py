"""The client half of a recorded Flower app: a mod in front of the app's own train function.

Whatever a recorded strategy asks of a site comes as a `train` message with a record of fedchain's in it: who it is
(`declare`), a task (`train`), an inclusion promise, a round's proof. For a task the mod checks the base model, hands it
to the app's function as an ArrayRecord, and answers with the site's signed update, fixed point and encrypted, in the
place of the arrays. The app's metrics travel beside it, in plain and unsigned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from fedchain.adapters.arrays import ArrayForm
from fedchain.adapters.datasets.own import read_policy
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.datasets.rows import card_of
from fedchain.adapters.targets import own_code, sources_of, target_of
from fedchain.adapters.training.modules import described
from fedchain.core import document
from fedchain.core.errors import FedchainError, FormatError, InputError, PolicyError
from fedchain.core.policy import DataPolicy
from fedchain.core.task import RoundProof, SignedPromise, Task
from fedchain.core.tensors import FloatTensors, TensorSchema
from fedchain.ports.training import LocalRound
from fedchain.wiring.apps import Declaration, open_site
from fedchain.workflow.site import Site

RECORD: Final = "fedchain"
METRICS: Final = "metrics"
FROZEN: Final = "fedchain.frozen"
REFUSED: Final = 1
"""Flower's code of an error that the app reports, with our line as its reason."""

Rows: TypeAlias = Callable[[Mapping[str, Any]], object]
"""From a node's node_config to the rows that its train function trains on."""


@dataclass(frozen=True, slots=True)
class RecordedMod:
    """A mod for `flwr.clientapp.ClientApp(mods=[...])`; `declared` remembers what each node said of itself."""

    rows: Rows
    policy: DataPolicy | Path
    home: Path
    declared: dict[str, Declaration] = field(default_factory=dict[str, Declaration])

    def __call__(self, message: Message, context: Context, app: ClientAppCallable) -> Message:
        """Answer a message: what a recorded strategy asks, the site does; an evaluation is the app's own."""
        kind = message.metadata.message_type
        try:
            if RECORD in message.content.config_records:
                return Message(self._answer(message, context, app), reply_to=message)
            if kind.startswith("train"):
                raise PolicyError(
                    "this client trains in recorded rounds only", expected="a strategy in fedchain.flower.recorded",
                    got="a plain one", remedy="wrap it: recorded(FedAvg(...))",
                )  # fmt: skip
            if kind.startswith("evaluate"):
                self._declaration(context)  # whose policy lets nothing leave unprotected lets no metric leave
        except FedchainError as error:
            if RECORD not in message.content.config_records:
                return Message(Error(REFUSED, str(error)), reply_to=message)
            told: dict[str, str | bool] = {"error": str(error), "is_policy": isinstance(error, PolicyError)}
            return Message(RecordDict({RECORD: ConfigRecord(dict(told))}), reply_to=message)
        return app(message, context)

    def _answer(self, message: Message, context: Context, app: ClientAppCallable) -> RecordDict:
        asked = message.content.config_records[RECORD]
        declaration = self._declaration(context)
        if asked.get("kind") == "declare":
            return _record(document=document.to_bytes(declaration))
        trainer = AppTrainer(message, context, app)
        with self._open(declaration.partition(), trainer) as site:
            match asked.get("kind"):
                case "train":
                    signed = site.contribute(
                        document.from_bytes(Task, _bytes(asked, "document")), _bytes(asked, "model")
                    )
                    reply = _record(header=document.to_bytes(signed.header), payload=signed.payload, keys=signed.keys)
                    return RecordDict({**reply, METRICS: trainer.metrics[0]}) if trainer.metrics else reply
                case "promise":
                    site.accept_promise(document.from_bytes(SignedPromise, _bytes(asked, "document")))
                    return _record()
                case "countersign":
                    proof = document.from_bytes(RoundProof, _bytes(asked, "document"))
                    return _record(signer=site.device.address, signature=site.countersign(proof))
                case other:
                    raise FormatError(
                        "message of a recorded strategy", expected="a kind that is known", got=str(other)[:40]
                    )

    def _open(self, partition: Partition, trainer: AppTrainer) -> AbstractContextManager[Site]:
        return open_site(self.home, partition, trainer)

    def _declaration(self, context: Context) -> Declaration:
        """Return what this node says of its site.

        Raises:
            PolicyError: if there is no policy, or it allows no training without differential privacy.
            InputError: if the app's rows cannot be used.
        """
        name = _name_of(context)
        if name not in self.declared:
            policy = self.policy if isinstance(self.policy, DataPolicy) else read_policy(self.policy)
            if not policy.allows_unprotected:
                raise PolicyError(
                    f"the policy of {policy.dataset_name} demands differential privacy",
                    expected="a policy that allows training without", got="the app's own training, which has none",
                    remedy="train the model with fedchain.federate, which does DP-SGD",
                )  # fmt: skip
            own = replace(policy, dataset_name=f"{policy.dataset_name}: {name}")
            with own_code(target_of(self.rows)):
                rows = self.rows(context.node_config)
            sources = {path: text.decode() for path, text in sources_of(self.rows).items()}
            card = card_of(own.dataset_name, rows)
            self.declared[name] = Declaration(name, card, own, target_of(self.rows), sources)
        return self.declared[name]


@dataclass(frozen=True, slots=True)
class AppTrainer:
    """The Trainer port over a Flower app's own train function. What it reported beside the arrays is in `metrics`."""

    message: Message
    context: Context
    app: ClientAppCallable
    metrics: list[MetricRecord] = field(default_factory=list[MetricRecord])

    def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
        """See `Trainer.train`.

        Raises:
            InputError: if the function fails, or its reply is not a model like `base` and metrics with the number of
                rows that the site registered.
            PolicyError: if the update was to be protected: nobody knows what the function does.
        """
        if local.release.is_protected:
            raise PolicyError("an app's own training", expected="privacy=off", got="differential privacy")
        asked = self.message.content.config_records[RECORD]
        reply = self._trained(base, asked)
        arrays, metrics = list(reply.array_records.values()), list(reply.metric_records.values())
        if len(arrays) != 1 or len(metrics) != 1:
            raise InputError(
                "reply of the app's train function", expected="one ArrayRecord and one MetricRecord",
                got=f"{len(arrays)} and {len(metrics)}",
            )  # fmt: skip
        trained = self._form(asked).tensors_of(arrays[0])
        expected, got = TensorSchema.of(base), TensorSchema.of(trained)
        if got != expected:
            raise InputError("arrays of the app's train function", expected=described(expected), got=described(got))
        weight = str(asked.get("weighted-by"))
        if metrics[0].get(weight) != local.nominal_size:
            raise InputError(
                f"{weight} of the app's train function", expected=f"the {local.nominal_size} rows that are registered",
                got=metrics[0].get(weight, "none"), remedy="let the mod's rows be those that the function trains on",
            )  # fmt: skip
        self.metrics.append(metrics[0])
        return {name: trained[name] - array for name, array in base.items()}

    def _form(self, asked: ConfigRecord) -> ArrayForm:
        frozen = self.message.content.array_records.get(FROZEN, ArrayRecord())
        return ArrayForm(_texts(asked, "names"), _texts(asked, "dtypes"), frozen)

    def _trained(self, base: FloatTensors, asked: ConfigRecord) -> RecordDict:
        form = self._form(asked)
        exchanged = sorted(name for name in form.names if name not in form.frozen)
        if exchanged != sorted(base):
            raise FormatError("names of the arrays", expected=sorted(base), got=exchanged)
        others = {name: each for name, each in self.message.content.items() if name not in (RECORD, FROZEN)}
        plain = copy(self.message)
        plain.content = RecordDict({str(asked.get("arrays")): form.arrays_of(base), **others})
        with own_code("the app's train function"):
            reply = self.app(plain, self.context)
        if reply.has_error():
            raise InputError("the app's train function", expected="a reply", got=reply.error.reason)
        return reply.content


def _name_of(context: Context) -> str:
    """Return the name of a node's site: client1 for partition 0.

    Raises:
        InputError: if the node has no partition.
    """
    partition = context.node_config.get("partition-id")
    if not isinstance(partition, int):
        raise InputError("node_config of a Flower node", expected="a partition-id", got=dict(context.node_config))
    return f"client{partition + 1}"


def _record(**values: bytes) -> RecordDict:
    return RecordDict({RECORD: ConfigRecord(dict(values))})


def _bytes(asked: ConfigRecord, key: str) -> bytes:
    value = asked.get(key)
    if not isinstance(value, bytes):
        raise FormatError("message of a recorded strategy", expected=f"bytes under {key!r}")
    return value


def _texts(asked: ConfigRecord, key: str) -> tuple[str, ...]:
    value = asked.get(key)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise FormatError("message of a recorded strategy", expected=f"a list of text under {key!r}")
    return tuple(str(each) for each in value)
