"""Real processes that kill themselves at a chosen step of the journal."""
