"""What a new key says of itself, filled into a registry message where a test left it empty."""

from __future__ import annotations

from dataclasses import replace

from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.messages import KeyPossession, RegisterDevice, RegistryMessage, RotateAdmin
from tests.doubles.signer import NamedSigner


def possessed(message: RegistryMessage, domain: Domain, *keys: NamedSigner) -> RegistryMessage:
    """Return the message with the possession that whichever of the keys is the new one signs."""
    match message:
        case RegisterDevice(device=new, possession=b"") | RotateAdmin(admin=new, possession=b""):
            words = KeyPossession(message.organisation, new)
            signed = [each.sign(signing_digest(domain, words)) for each in keys if each.address == new]
            return replace(message, possession=signed[0]) if signed else message
        case _:
            return message
