from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core import document
from fedchain.core.cid import PROFILE, cid_of
from fedchain.core.errors import FormatError
from fedchain.core.manifest import CID_PROFILE, ROUND_FORMAT, RUN_FORMAT, RoundManifest, RunManifest
from tests.core.samples import FEW, documents


def test_a_manifest_names_its_format_and_the_profile_of_its_identifiers() -> None:
    assert (RUN_FORMAT, ROUND_FORMAT) == ("fedchain/run/4", "fedchain/round/2")
    assert CID_PROFILE == PROFILE


@pytest.mark.parametrize("cls", [RunManifest, RoundManifest])
@FEW
@given(st.data())
def test_the_identifier_of_a_manifest_covers_every_byte(cls: Any, data: st.DataObject) -> None:
    manifest = data.draw(documents(cls))
    encoded = document.to_bytes(manifest)
    altered = bytearray(encoded)
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    assert cid_of(bytes(altered)) != cid_of(encoded)
    try:
        assert document.from_bytes(cls, bytes(altered)) != manifest
    except FormatError:
        return


@FEW
@given(documents(RoundManifest))
def test_one_kind_of_manifest_is_never_read_as_the_other(manifest: RoundManifest) -> None:
    with pytest.raises(FormatError, match="the keys"):
        document.from_bytes(RunManifest, document.to_bytes(manifest))
