from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.eip712 import Domain, members, signing_digest, struct_hash, type_hash
from fedchain.core.errors import FormatError
from fedchain.core.messages import ClientUpdate, ConsentGrant, RoundReceipt
from fedchain.core.signatures import address_of, checksum_address, sign
from tests.core.samples import FEW, MESSAGES, domains, messages, unhex, vectors

VECTORS = vectors("eip712")
CLASSES: dict[str, Any] = {cls.TYPE: cls for cls in MESSAGES}


def message_of(case: dict[str, Any]) -> Any:
    values = list(case["values"].values())
    kinds = [kind for kind, _ in members(case["type"])]
    decoded = [
        int(value) if kind.startswith("uint") else unhex(value) for kind, value in zip(kinds, values, strict=True)
    ]
    return CLASSES[case["type"]](*decoded)


def typed_data(domain: Domain, message: Any) -> dict[str, Any]:
    """The message in the JSON form of EIP-712, with the names of the type string."""
    inner = message.TYPE[message.TYPE.index("(") + 1 : -1]
    pairs = [member.split(" ") for member in inner.split(",")]
    values = dataclasses.astuple(message)
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            type(message).__name__: [{"type": kind, "name": name} for kind, name in pairs],
        },
        "primaryType": type(message).__name__,
        "domain": {
            "name": "fedchain",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": "0x" + domain.contract.hex(),
        },
        "message": {name: value for (_, name), value in zip(pairs, values, strict=True)},
    }


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["type"].partition("(")[0])
def test_the_shared_vectors_come_out(case: dict[str, Any]) -> None:
    domain, message = Domain(case["chainId"], unhex(case["verifyingContract"])), message_of(case)
    assert type_hash(message.TYPE) == unhex(case["typeHash"])
    assert struct_hash(message) == unhex(case["structHash"])
    assert domain.separator() == unhex(case["domainSeparator"])
    assert signing_digest(domain, message) == unhex(case["digest"])
    assert sign(unhex(VECTORS["key"]), signing_digest(domain, message)) == unhex(case["signature"])


def test_the_vectors_name_their_signer() -> None:
    assert checksum_address(address_of(unhex(VECTORS["key"]))) == VECTORS["signer"]


@pytest.mark.parametrize("cls", MESSAGES)
@FEW
@given(st.data(), domains)
def test_every_message_hashes_as_in_eth_account(cls: Any, data: st.DataObject, domain: Domain) -> None:
    message = data.draw(messages(cls))
    signable = encode_typed_data(full_message=typed_data(domain, message))
    assert bytes(signable.body) == struct_hash(message)
    assert bytes(signable.header) == domain.separator()


@pytest.mark.parametrize("cls", MESSAGES)
@FEW
@given(st.data(), domains)
def test_each_member_is_bound(cls: Any, data: st.DataObject, domain: Domain) -> None:
    message, other = data.draw(messages(cls)), data.draw(messages(cls))
    for field in dataclasses.fields(cls):
        changed = dataclasses.replace(message, **{field.name: getattr(other, field.name)})
        assert (signing_digest(domain, changed) == signing_digest(domain, message)) == (changed == message)


@FEW
@given(messages(RoundReceipt), domains, domains)
def test_a_signature_is_for_one_chain_and_one_contract(message: RoundReceipt, domain: Domain, other: Domain) -> None:
    assert (signing_digest(domain, message) == signing_digest(other, message)) == (domain == other)


def test_two_types_with_equal_members_hash_apart() -> None:
    @dataclasses.dataclass(frozen=True)
    class Namesake:
        TYPE: ClassVar[str] = RoundReceipt.TYPE.replace("RoundReceipt", "Namesake")
        federation: bytes = bytes(32)
        run: bytes = bytes(32)
        round: int = 1
        round_hash: bytes = bytes(32)

    assert struct_hash(Namesake()) != struct_hash(RoundReceipt(bytes(32), bytes(32), 1, bytes(32)))


@FEW
@given(messages(ClientUpdate), st.sampled_from(["round", "weight", "nonce"]), st.sampled_from([-1, 2**64, 2**256]))
def test_an_integer_out_of_its_type_has_no_hash(message: ClientUpdate, name: str, value: Any) -> None:
    with pytest.raises(FormatError):
        struct_hash(dataclasses.replace(message, **{name: value}))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_bytes_of_another_length_have_no_hash(size: int) -> None:
    with pytest.raises(FormatError):
        struct_hash(RoundReceipt(bytes(32), bytes(size), 1, bytes(32)))


@pytest.mark.parametrize(
    "domain", [Domain(-1, bytes(20)), Domain(2**256, bytes(20)), Domain(1, b""), Domain(1, bytes(32))]
)
def test_a_domain_that_no_chain_has_is_refused(domain: Domain) -> None:
    with pytest.raises(FormatError):
        domain.separator()


def test_members_are_camel_case_in_solidity_and_snake_case_here() -> None:
    names = [name for _, name in members(ConsentGrant.TYPE)]
    assert names == [
        "dataset", "federation", "policy", "from_", "until", "micro_epsilon_grant", "delta_e12", "unit",
        "nominal_size", "nonce",
    ]  # fmt: skip
