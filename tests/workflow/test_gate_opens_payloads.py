"""The gate of a run that encrypts: what cannot be opened, or came in plain, is a recorded rejection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.cipher import Opener
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.payloads import DecryptingReader, EncryptingWriter
from fedchain.adapters.private_store import PrivateStore, Readers
from fedchain.core import document
from fedchain.core.cid import cid_of
from fedchain.core.eip712 import signing_digest
from fedchain.core.encryption import HPKE_AES_256_GCM, WrappedKeys
from fedchain.core.errors import LockedArtifactError
from fedchain.core.rejection import Reason
from fedchain.core.task import UpdateHeader
from fedchain.ports.cohort import Reply
from fedchain.ports.payloads import ReadyPayload
from fedchain.workflow.gate import Admission, Gate, Refusal, context_of
from tests.doubles.clock import CountedEntropy
from tests.doubles.store import MemoryStore
from tests.workflow.drafts import Draft, gate, genuine

AGGREGATOR, SITE, VERIFIERS = Opener.of(b"\x01" * 32), Opener.of(b"\x02" * 32), Opener.of(b"\x03" * 32)


@pytest.fixture
def reader(tmp_path: Path) -> DecryptingReader:
    ring = KeyRing(tmp_path / "aggregator.sqlite")
    return DecryptingReader(MemoryStore(), AGGREGATOR, ring, Readers({AGGREGATOR.public_key: ring}))


@pytest.fixture
def writer(tmp_path: Path) -> EncryptingWriter:
    keys = (SITE.public_key, AGGREGATOR.public_key)
    return EncryptingWriter(keys, KeyRing(tmp_path / "site.sqlite"), CountedEntropy())


def encrypting(draft: Draft, reader: DecryptingReader) -> Gate:
    plain = gate(draft)
    return replace(plain, manifest=replace(plain.manifest, payload_encryption=HPKE_AES_256_GCM), payloads=reader)


def encrypted(draft: Draft, writer: EncryptingWriter) -> Reply:
    """The draft's reply, its payload encrypted before it was signed."""
    message = replace(draft.message, update_commit=draft.envelope.commitment())
    ready = writer.write(draft.envelope, context_of(message))
    message = replace(message, payload_cid=cid_of(ready.payload).digest)
    signature = draft.signer.sign(signing_digest(draft.domain, message))
    header = UpdateHeader(draft.domain.chain_id, draft.domain.contract, message, signature, draft.dp)
    return Reply(draft.node, draft.task.round, document.to_bytes(header), ready.payload, "", ready.keys)


def ready(reply: Reply) -> ReadyPayload:
    return ReadyPayload(reply.payload, cid_of(reply.payload), reply.keys)


def test_an_encrypted_update_is_admitted_and_kept_as_it_came(
    reader: DecryptingReader, writer: EncryptingWriter
) -> None:
    draft = genuine()
    reply = encrypted(draft, writer)
    admission = encrypting(draft, reader).judge(reply, frozenset())
    assert isinstance(admission, Admission)
    assert {name: each.tolist() for name, each in admission.tensors.items()} == {
        name: each.tolist() for name, each in draft.tensors.items()
    }
    reader.keep([ready(reply)])
    cid = admission.payload_cid
    assert reader.kept(cid) == reply.payload
    assert PrivateStore(reader.store, reader.ring, AGGREGATOR).get(cid) == draft.envelope.to_bytes()
    assert writer.keys_of(reply.payload) == reply.keys


def other_context(reply: Reply) -> bytes:
    keys = document.from_bytes(WrappedKeys, reply.keys)
    return document.to_bytes(replace(keys, context=replace(keys.context, round=keys.context.round + 1)))


def for_others(reply: Reply) -> bytes:
    return document.to_bytes(document.from_bytes(WrappedKeys, reply.keys).only(SITE.recipient))


def altered(reply: Reply) -> bytes:
    keys = document.from_bytes(WrappedKeys, reply.keys)
    return document.to_bytes(
        replace(
            keys,
            keys=tuple(replace(each, wrapped=each.wrapped[:-1] + bytes([each.wrapped[-1] ^ 1])) for each in keys.keys),
        )
    )


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda _: b"", id="none"),
        pytest.param(lambda reply: reply.keys[:-1], id="no document"),
        pytest.param(lambda _: b"[" * (1 << 15), id="longer than any"),
        pytest.param(other_context, id="for another round"),
        pytest.param(for_others, id="for others"),
        pytest.param(altered, id="altered"),
    ],
)
def test_keys_that_do_not_open_are_a_reason(
    reader: DecryptingReader, writer: EncryptingWriter, spoil: Callable[[Reply], bytes]
) -> None:
    draft = genuine()
    reply = encrypted(draft, writer)
    verdict = encrypting(draft, reader).judge(replace(reply, keys=spoil(reply)), frozenset())
    assert verdict == Refusal(Reason.CANNOT_BE_OPENED, draft.signer.address)


def test_keys_of_another_update_do_not_open(reader: DecryptingReader, writer: EncryptingWriter) -> None:
    draft = genuine()
    reply, other = encrypted(draft, writer), encrypted(draft, writer)
    assert reply.payload != other.payload
    verdict = encrypting(draft, reader).judge(replace(reply, keys=other.keys), frozenset())
    assert verdict == Refusal(Reason.CANNOT_BE_OPENED, draft.signer.address)


@pytest.mark.parametrize("whose", ["aggregator", "verifiers"])
def test_a_payload_whose_keys_were_erased_is_refused_and_the_others_are_kept(
    tmp_path: Path, reader: DecryptingReader, writer: EncryptingWriter, whose: str
) -> None:
    others = KeyRing(tmp_path / "verifiers.sqlite")
    rings: dict[bytes, KeyRing | None] = {AGGREGATOR.public_key: reader.ring, VERIFIERS.public_key: others}
    reader = replace(reader, readers=Readers(rings))
    draft = genuine()
    again, new = encrypted(draft, writer), encrypted(draft, writer)
    reader.keep([ready(again)])
    (reader.ring if whose == "aggregator" else others).erase([cid_of(again.payload)])
    verdicts = {reply: encrypting(draft, reader).judge(reply, frozenset()) for reply in (again, new)}
    assert verdicts[again] == Refusal(Reason.CANNOT_BE_OPENED, draft.signer.address)
    admitted = [reply for reply, verdict in verdicts.items() if isinstance(verdict, Admission)]
    assert admitted == [new]
    reader.keep([ready(each) for each in admitted])


def test_a_payload_in_plain_is_a_reason(reader: DecryptingReader) -> None:
    draft = genuine()
    verdict = encrypting(draft, reader).judge(draft.reply(), frozenset())
    assert verdict == Refusal(Reason.NOT_ENCRYPTED, draft.signer.address)


def test_a_payload_that_was_signed_for_other_content_is_a_mismatch(
    reader: DecryptingReader, writer: EncryptingWriter
) -> None:
    draft = genuine()
    reply = encrypted(draft, writer)
    header = document.from_bytes(UpdateHeader, reply.header)
    message = replace(header.message, update_commit=b"\x11" * 32)
    signature = draft.signer.sign(signing_digest(draft.domain, message))
    header = replace(header, message=message, signature=signature)
    verdict = encrypting(draft, reader).judge(replace(reply, header=document.to_bytes(header)), frozenset())
    assert verdict == Refusal(Reason.PAYLOAD_MISMATCH, draft.signer.address)


def test_a_writer_whose_keys_were_erased_says_so(writer: EncryptingWriter) -> None:
    draft = genuine()
    ready = writer.write(draft.envelope, context_of(draft.message))
    writer.ring.erase([cid_of(ready.payload)])
    with pytest.raises(LockedArtifactError, match="no keys any more"):
        writer.keys_of(ready.payload)
