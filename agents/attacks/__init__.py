"""Searches for what a filter or a reward model gets wrong: one attack a file, one protocol, one ledger."""
