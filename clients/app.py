"""The ClientApp: Flower's messages on one side, a site's functions on the other, and nothing of its own.

Three message types: `train` carries a task and the base model and brings back a signed update; `query.promise` hands
over an inclusion promise; `query.countersign` carries a round's proof and brings back a receipt's signature. An error
of the site travels back as one line, never as a traceback.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, TypeAlias, TypeVar

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedchain.core import document
from fedchain.core.errors import FedchainError, FormatError
from fedchain.core.task import RoundProof, SignedPromise, Task, header_bytes
from fedchain.workflow.site import Site

RECORD: Final = "fedchain"
_EMPTY: Final = ConfigRecord({})
T = TypeVar("T")
SiteOf: TypeAlias = Callable[[Context], AbstractContextManager[Site]]
"""Finds a node's site for one message: one that is there already, or one that is opened for it."""


def make_client_app(site_of: SiteOf) -> ClientApp:
    """Return the ClientApp of the sites that `site_of` finds for a node's context."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:  # pyright: ignore[reportUnusedFunction]
        return _answer(message, _train, site_of(context))

    @app.query("promise")
    def promise(message: Message, context: Context) -> Message:  # pyright: ignore[reportUnusedFunction]
        return _answer(message, _promise, site_of(context))

    @app.query("countersign")
    def countersign(message: Message, context: Context) -> Message:  # pyright: ignore[reportUnusedFunction]
        return _answer(message, _countersign, site_of(context))

    return app


def _train(site: Site, message: Message) -> ConfigRecord:
    control = _bytes(message, "control") if "control" in _record(message) else b""
    signed = site.contribute(_task(_bytes(message, "document")), _bytes(message, "model"), control)
    return ConfigRecord({"header": header_bytes(signed.header), "payload": signed.payload, "keys": signed.keys})


@functools.lru_cache(maxsize=1)  # in a simulation all sites are sent the same bytes
def _task(data: bytes) -> Task:
    return document.from_bytes(Task, data)


def _promise(site: Site, message: Message) -> ConfigRecord:
    site.accept_promise(_document(message, SignedPromise))
    return ConfigRecord({})


def _countersign(site: Site, message: Message) -> ConfigRecord:
    signature = site.countersign(_document(message, RoundProof))
    return ConfigRecord({"signer": site.device.address, "signature": signature})


def _answer(
    message: Message, work: Callable[[Site, Message], ConfigRecord], opened: AbstractContextManager[Site]
) -> Message:
    try:
        with opened as site:
            record = work(site, message)
    except FedchainError as error:
        record = ConfigRecord({"error": str(error)})
    return Message(RecordDict({RECORD: record}), reply_to=message)


def _document(message: Message, cls: type[T]) -> T:
    return document.from_bytes(cls, _bytes(message, "document"))


def _record(message: Message) -> ConfigRecord:
    record = message.content.get(RECORD)  # `config_records` copies all records at each call
    return record if isinstance(record, ConfigRecord) else _EMPTY


def _bytes(message: Message, key: str) -> bytes:
    value = _record(message).get(key)
    if not isinstance(value, bytes):
        raise FormatError(f"message {message.metadata.message_type}", expected=f"bytes under {key!r}")
    return value
