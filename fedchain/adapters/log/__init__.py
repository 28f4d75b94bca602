"""The record without a chain: a signed Merkle log in one file."""
