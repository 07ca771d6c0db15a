"""Whoever optimises a reward: training, rollouts, planning."""
