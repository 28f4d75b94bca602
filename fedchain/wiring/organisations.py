"""Which organisation each site of a home is: named after its first admin key, whichever key administers it later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fedchain.adapters.files import create_file, explained
from fedchain.adapters.home import Home
from fedchain.adapters.keys import key_path, read_signer
from fedchain.core.digest import tagged
from fedchain.core.errors import FormatError
from fedchain.wiring.parties import site_names

_HEX_ID: Final = re.compile(rb"[0-9a-f]{64}\n")


def organisation_of(home: Home, site: str, admin: bytes) -> bytes:
    """Return a site's organisation; `admin` is its present admin key, which names it as long as it is the first one.

    Raises:
        FormatError: if the file that remembers it is damaged.
    """
    path = _path(home, site)
    with explained(path):
        if not path.exists():
            return tagged("organisation", admin)
        text = path.read_bytes()
    if not _HEX_ID.fullmatch(text):
        raise FormatError(f"{path} holds no id", expected="64 hexadecimal digits", remedy="restore the file")
    return bytes.fromhex(text.decode().strip())


def keep_organisation(home: Home, site: str, organisation: bytes) -> None:
    """Remember a site's organisation for the time when another key administers it."""
    create_file(_path(home, site), organisation.hex().encode() + b"\n")


def names_of_organisations(home: Home) -> dict[bytes, str]:
    """Return the names of the sites whose admin keys lie in this home, by organisation."""
    paths = {name: key_path(home.keys, "site", name) for name in site_names(home)}
    return {
        organisation_of(home, name, read_signer(path).address): name for name, path in paths.items() if path.exists()
    }


def _path(home: Home, site: str) -> Path:
    return home.site(site) / "organisation"
