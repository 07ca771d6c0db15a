"""Watching what an attack queries."""

from contextlib import contextmanager

import pytest
from proxygap.agents.attacks.core import Hunt


@contextmanager
def watched():
    """Inside, every query is noted: (rows, actions as given, which steps were free, what they came to)."""
    queries = []

    def query(hunt, rows, action, free=None, policy=None):
        tries = asked(hunt, rows, action, free, policy)
        queries.append((rows, action.copy(), free, tries))
        return tries

    asked = Hunt.query
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hunt, "query", query)
        yield queries
