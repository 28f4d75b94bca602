"""The pure heart: integers in, bytes and digests out. No I/O, no framework, no clock, no randomness."""
