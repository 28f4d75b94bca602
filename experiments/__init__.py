"""Benchmarks and studies that use fedchain as anyone would; nothing imports them."""
