"""Another reading key in the place of one: what was wrapped for the old key is wrapped for the new one, then it goes.

At every moment the key in its place opens the whole ring: first each data key is wrapped for both, then the new key
takes the place, then no ring that lies here has a wrap for the old one any more. The old key lies in
`keys/past-<role>/` until that is done, so that an exchange that was killed is finished by the next one. Copies of the
rings open for the old key still.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fedchain.adapters import cipher
from fedchain.adapters.cipher import Opener
from fedchain.adapters.files import create_file, explained, make_folder, replace_file, sync_folder
from fedchain.adapters.home import Home, locked, open_home
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.keys import READER, key_path, make_secret, public_of, read_secret, successor_path
from fedchain.adapters.system import SystemEntropy
from fedchain.core.cid import Cid
from fedchain.core.encryption import WrappedKeys
from fedchain.core.errors import InputError
from fedchain.wiring.confidential import HOLDERS, SITE_ROLE, ring_of, role_of, site_ring
from fedchain.wiring.parties import site_names


def exchange(home: Path, role: str, name: str) -> int:
    """Exchange a reading key, or finish an exchange that was begun; return how many data keys its ring has.

    Raises:
        InputError: if there is no such reading key, or a file cannot be used.
    """
    opened = open_home(home)
    with locked(opened):
        ring = _ring(opened, role, name)
        path = key_path(opened.keys, role, name)
        past, successor = key_path(opened.keys, f"past-{role}", name), successor_path(opened.keys, role, name)
        if not past.exists():
            old, new = Opener.of(read_secret(path)), _drawn(opened.keys, role, name)
            ring.rewrap(lambda cid, keys: _also_for(new, old, cid, keys))
            make_folder(past.parent)
            create_file(past, path.read_bytes())
        if successor.exists():
            replace_file(path, successor.read_bytes())
        gone = public_of(past)
        now = Opener.of(read_secret(path)).recipient
        for other in _rings(opened):  # those who wrote keep wraps for all readers
            other.rewrap(lambda cid, keys: _instead(keys, gone, ring.find(cid), now))
        kept = ring.rewrap(lambda _, keys: _without(keys, gone))
        for each in (successor, past):
            _remove(each)
        return kept


def _ring(home: Home, role: str, name: str) -> KeyRing:
    groups = {role_of(each): each for each in HOLDERS}
    is_there = key_path(home.keys, role, name).exists()
    if is_there and role in groups:
        return ring_of(home, groups[role])
    if is_there and role == SITE_ROLE and name in site_names(home):
        return site_ring(home, name)
    raise InputError(
        f"{role[:80]}/{name[:80]}", expected=f"a reading key of this home: its role ends with {READER}",
        remedy="`fedchain keys` lists them; signing keys are exchanged by `fedchain registry rotate-device`",
    )  # fmt: skip


def _rings(home: Home) -> list[KeyRing]:
    return [ring_of(home, each) for each in HOLDERS] + [site_ring(home, each) for each in site_names(home)]


def _without(keys: WrappedKeys, gone: bytes | None) -> WrappedKeys:
    return replace(keys, keys=tuple(each for each in keys.keys if each.recipient != gone))


def _instead(keys: WrappedKeys, gone: bytes | None, known: WrappedKeys | None, new: bytes) -> WrappedKeys:
    """Put the reader's new wrap, where its ring has one, in the place of the one for its old key."""
    if gone is None or keys.of(gone) is None:
        return keys
    added = () if known is None or keys.of(new) is not None else known.only(new).keys
    return replace(_without(keys, gone), keys=_without(keys, gone).keys + added)


def _drawn(keys: Path, role: str, name: str) -> Opener:
    return Opener.of(make_secret(keys, f"next-{role}", name, SystemEntropy()))


def _also_for(new: Opener, old: Opener, cid: Cid, keys: WrappedKeys) -> WrappedKeys:
    """Wrap a data key for the new key, too, where the old one has it."""
    if keys.of(old.recipient) is None or keys.of(new.recipient) is not None:
        return keys
    data_key = old.data_key(keys, cid.digest)
    added = cipher.wrapped_keys(data_key, cid.digest, keys.context, [new.public_key])
    return replace(keys, keys=keys.keys + added.keys)


def _remove(path: Path) -> None:
    with explained(path):
        if path.exists():
            path.unlink()
            sync_folder(path.parent)
