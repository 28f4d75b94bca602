"""The command line: `run`, `runs`, `verify`, `lineage`, one small module a verb.

A verb is a function of its options, the screen and the collaborator that does the work, and returns an exit code.
Everything heavy is imported by the verb that needs it, so `fedchain --help` answers at once. docs/cli.md is the manual.
"""
