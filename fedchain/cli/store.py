"""`fedchain store`: the artifacts of a home."""

from __future__ import annotations

from typing import Final

from fedchain.cli import housekeeping
from fedchain.cli.arguments import Verbs, add_verb

TEXT: Final = """\
The store holds every artifact of the home, named by the hash of its bytes (its CID): models, updates, manifests.
`fedchain store usage` shows how full it is, `scrub` reads all of it and tells what is damaged, missing or left over,
`gc` removes what nothing needs, and `quota` sets how large it may grow.
"""


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(verbs, "store", housekeeping.handle_usage, summary="keep house among the artifacts", text=TEXT)
    below = parser.add_subparsers(metavar="", title="also")
    housekeeping.add_verbs(below)
