"""Worlds with two rewards: what we measure, and what we want."""
