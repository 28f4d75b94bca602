"""The wiring: the only package that names adapters.

`parties` holds the keys and the ledger of a home, `record` reads it (runs, verification), `simulation` runs it.
"""
