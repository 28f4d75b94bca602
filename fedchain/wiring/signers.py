"""`signers.toml` of a home: keys of deployer, operator and aggregator that lie elsewhere than in its plain files.

Each table names one role and one way: `keystore` with `password_file`, `password_variable` or `credential` (of
systemd); `command` with `address`; or `url` with `address`. The file is written by hand and is no part of the record.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from fedchain.adapters.evm.external_signer import CommandSigner
from fedchain.adapters.evm.http_endpoint import HttpEndpoint
from fedchain.adapters.evm.keystore import KeystoreSigner, read_password
from fedchain.adapters.evm.node_signer import NodeSigner
from fedchain.adapters.files import explained
from fedchain.adapters.home import Home
from fedchain.core.errors import FormatError, InputError
from fedchain.ports.signer import Signer

ROLES: Final = ("deployer", "operator", "aggregator")
_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
_ADDRESS: Final = re.compile("0x[0-9a-fA-F]{40}")
_WAYS: Final = (
    ("keystore", "password_file"),
    ("keystore", "password_variable"),
    ("keystore", "credential"),
    ("command", "address"),
    ("url", "address"),
)


def external_signers(home: Home) -> dict[str, Signer]:
    """Return the signers that the home's file names, by role; none where there is no file.

    Raises:
        InputError: if the file cannot be read or says anything else, or a keystore cannot be read.
    """
    path = home.signers
    with explained(path):
        text = path.read_bytes() if path.exists() else b""
    try:
        tables: dict[str, Any] = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is no TOML", got=error, remedy="mend the file") from error
    unknown = sorted(set(tables) - set(ROLES))
    if unknown:
        raise InputError(f"{path} names an unknown role", expected=", ".join(ROLES), got=repr(unknown[0])[:80])
    return {role: _signer(path, role, table) for role, table in tables.items()}


def _signer(path: Path, role: str, table: Any) -> Signer:  # noqa: ANN401  # TOML
    where = f"[{role}] of {path}"
    if not isinstance(table, dict) or set(table) not in [set(way) for way in _WAYS]:
        ways = ", or ".join(" and ".join(way) for way in _WAYS)
        got = sorted(table) if isinstance(table, dict) else type(table).__name__
        raise InputError(where, expected=ways, got=got)
    if "keystore" in table:
        texts = {key: _text(where, key, value) for key, value in table.items()}
        return KeystoreSigner(path.parent / texts["keystore"], lambda: _password(path, texts))
    address = _address(where, table["address"])
    if "url" in table:
        if role == "aggregator":
            raise InputError(
                f"{where}: url", expected="keystore or command", got="a signer of transactions",
                remedy="the aggregator also signs promises to the sites",
            )  # fmt: skip
        return NodeSigner(address, HttpEndpoint.parse(_text(where, "url", table["url"])))
    words = table["command"]
    if not isinstance(words, list) or not words or not all(isinstance(each, str) for each in words):
        raise InputError(
            f"{where}: command", expected='its words, such as ["sign", "--slot", "1"]', got=str(words)[:80]
        )
    return CommandSigner(address, tuple(words))


def _password(path: Path, texts: dict[str, str]) -> str:
    if "password_file" in texts:
        return read_password(path.parent / texts["password_file"])
    if "credential" in texts:
        folder = os.environ.get(_CREDENTIALS)
        if folder is None:
            raise InputError(
                f"no credential {texts['credential']}", expected=f"${_CREDENTIALS}, which systemd sets", got="none",
                remedy="start it with LoadCredential=, or use password_file",
            )  # fmt: skip
        return read_password(Path(folder) / texts["credential"], is_credential=True)
    password = os.environ.get(texts["password_variable"])
    if not password:
        raise InputError(f"no password in ${texts['password_variable']}", expected="one", got="none")
    return password


def _text(where: str, key: str, value: Any) -> str:  # noqa: ANN401  # TOML
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: {key}", expected="a text", got=str(value)[:80])
    return value


def _address(where: str, value: Any) -> bytes:  # noqa: ANN401  # TOML
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise InputError(f"{where}: address", expected="0x and 40 hexadecimal digits", got=str(value)[:80])
    return bytes.fromhex(value[2:])
