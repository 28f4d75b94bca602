"""A device key in a token behind PKCS#11 (an HSM, a smart card, SoftHSM): P-256, made in there, never out of it.

The key's file holds no secret: it names the module, the token and the key, and the address that the key must have. The
PIN comes from where passphrases come from. Needs the extra `hsm` (python-pkcs11).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fedchain.adapters.unlock import service_secret
from fedchain.core.digest import DIGEST_SIZE, Digest
from fedchain.core.errors import InputError
from fedchain.core.signatures import p256_address, p256_signature

TOKEN_FORMAT: Final = "fedchain/token-key/1"  # noqa: S105 - the name of a format
_CURVE: Final = "secp256r1"
_POINT_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Where a key is: the PKCS#11 module's path, the token's label and the key's, and the key's address."""

    format: str
    module: str
    token: str
    label: str
    public: bytes


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """A Signer whose key lies in a token; each signature is a session of its own."""

    key: TokenKey

    @property
    def address(self) -> bytes:
        """The 20-byte address of the key."""
        return self.key.public

    def sign(self, digest: Digest) -> bytes:
        """Return the 128-byte signature over a 32-byte digest (`core.signatures`).

        Raises:
            InputError: if the token or the key is not there, the PIN is wrong, or it is another key.
        """
        if len(digest) != DIGEST_SIZE:
            raise ValueError(f"a signature covers {DIGEST_SIZE} bytes, got {len(digest)}")
        with _session(self.key.module, self.key.token) as (pkcs11, session):
            point = _point(pkcs11, session, self.key.label)
            if p256_address(point) != self.key.public:
                raise InputError(
                    f"the key {self.key.label} of token {self.key.token} is another one",
                    expected=f"0x{self.key.public.hex()}", got=f"0x{p256_address(point).hex()}",
                )  # fmt: skip
            private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self.key.label)
            raw = private.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)
        r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
        return p256_signature(encode_dss_signature(r, s), point)


def make_token_key(module: str, token: str, label: str) -> TokenKey:
    """Find the key of a label in a token, or make one there that cannot be taken out; return where it is.

    Raises:
        InputError: if the module or the token cannot be used, or the PIN is wrong.
    """
    with _session(module, token, writes=True) as (pkcs11, session):
        found = list(session.get_objects({pkcs11.Attribute.LABEL: label}))
        if not found:
            from pkcs11.util.ec import encode_named_curve_parameters  # noqa: PLC0415 - of the extra `hsm`

            curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVE)}
            parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
            parameters.generate_keypair(store=True, label=label)
        return TokenKey(TOKEN_FORMAT, module, token, label, p256_address(_point(pkcs11, session, label)))


@contextmanager
def _session(module: str, token: str, *, writes: bool = False) -> Iterator[tuple[Any, Any]]:
    """Open a session as the token's user; what the module refuses becomes one line."""
    if importlib.util.find_spec("pkcs11") is None:
        raise InputError(
            "keys in a token need python-pkcs11", got="no such package", remedy="pip install 'fedchain[hsm]'"
        )
    import pkcs11  # noqa: PLC0415 - of the extra `hsm`

    pin = service_secret("PIN")
    if pin is None:
        raise InputError(
            f"the token {token} is locked", expected="the credential fedchain-pin, FEDCHAIN_PIN_FILE or FEDCHAIN_PIN",
            got="none",
        )  # fmt: skip
    try:
        opened = pkcs11.lib(module).get_token(token_label=token)
        with opened.open(rw=writes, user_pin=pin) as session:
            yield pkcs11, session
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        raise InputError(
            f"wrong PIN for the token {token}", remedy="mind that tokens lock after a few wrong ones"
        ) from error
    except pkcs11.PKCS11Error as error:
        raise InputError(
            f"the token {token} cannot be used through {module}", got=f"{type(error).__name__} {error}".strip(),
            remedy="check the module's path, the token's label and the key's",
        ) from error  # fmt: skip


def _point(pkcs11: Any, session: Any, label: str) -> bytes:  # noqa: ANN401 - of an optional package
    """Return a key's public point x || y; the token has it as a DER octet string of an uncompressed point."""
    key = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=label)
    encoded = bytes(key[pkcs11.Attribute.EC_POINT])
    if len(encoded) < _POINT_BYTES + 1 or encoded[-_POINT_BYTES - 1] != 4:
        raise InputError(
            f"the key {label} is no key of P-256", expected="an uncompressed point", got=encoded.hex()[:40]
        )
    return encoded[-_POINT_BYTES:]
