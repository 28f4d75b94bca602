"""Peers on the same workloads, each in an environment of its own.

What runs there imports nothing of ours but the workloads, and names the peer's modules as text: they are no
dependencies of this package.
"""
