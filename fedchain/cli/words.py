"""The crypto and privacy words of the screens, each in one plain sentence. docs/glossary.md has the same and more."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    "CID": "content identifier: a hash of an artifact's bytes, so whoever has the bytes can check that they are these",
    "model digest": "the fingerprint of the model's integers, which `fedchain verify` recomputes from stored updates",
    "ledger": "the append-only record of rounds: a small blockchain or a signed log in a file",
    "seal": "to record a round on the ledger, under a hash that covers all rounds before it",
    "ledger head": "the hash of the last sealed link; it changes if anything in the run's record is changed",
    "pinned head": "a ledger head that you have from elsewhere, not from the one who keeps the ledger",
    "receipt": "a hospital's signature over a sealed round, made after it found its own update in it",
    "trust file": "the heads and keys that a reviewer keeps to pin a verification against",
    "epsilon": "bounds what all of a hospital's releases tell about one record: smaller is more private",
    "delta": "the small probability with which the bound of epsilon may fail",
}


def explained(word: str) -> str:
    """Return the word with its sentence."""
    return f"{word}: {WORDS[word]}."
