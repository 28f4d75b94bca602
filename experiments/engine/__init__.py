"""Three workloads on the engine, on bare loops and on peers: `make bench-engine`, `make bench-peers`."""
