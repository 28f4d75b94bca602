"""The work itself: a site's contribution, the admission gate, the round machine, the verifier. Ports only."""
