"""A version's name is what the contract computes: keccak256 over the ABI encoding of chain, registry and version."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.eip712 import Domain
from fedchain.core.errors import FormatError
from fedchain.core.merkle import proves
from fedchain.core.releases import Edge, EdgeKind, Version, dataset_leaf, datasets_tree, version_id
from tests.core.samples import FEW, bytes32, domains

VERSION = "(bytes32,bytes32,bytes32,bytes32,bytes32,(bytes32,uint8)[])"
edges = st.lists(st.builds(Edge, bytes32, st.sampled_from(EdgeKind)), max_size=4).map(tuple)
versions = st.builds(Version, bytes32, bytes32, bytes32, bytes32, bytes32, edges)


@FEW
@given(domains, versions)
def test_the_name_is_the_hash_of_the_abi_encoding(domain: Domain, version: Version) -> None:
    encoded = encode(["uint256", "address", VERSION], [domain.chain_id, domain.contract, version.fields()])
    assert version_id(domain, version) == keccak(encoded)


def test_a_member_of_another_size_is_refused() -> None:
    short = Version(b"\x01" * 31, bytes(32), bytes(32), bytes(32), bytes(32), ())
    with pytest.raises(FormatError):
        version_id(Domain(1, bytes(20)), short)


@FEW
@given(st.lists(bytes32, min_size=1, max_size=6))
def test_each_dataset_once_stands_beneath_the_root(datasets: list[bytes]) -> None:
    tree = datasets_tree([*datasets, *datasets])
    assert tree.root == datasets_tree(reversed(datasets)).root
    assert all(proves(tree.root, dataset_leaf(each), tree.proof(dataset_leaf(each))) for each in datasets)
