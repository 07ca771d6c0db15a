"""Gridworlds: small, exact, and mostly after DeepMind's AI Safety Gridworlds (Leike et al. 2017, arXiv:1711.09883)."""
