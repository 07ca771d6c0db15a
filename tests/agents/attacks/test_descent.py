"""Projected descent begins anywhere in its box, never leaves it, and ends at its lowest place where that is a corner."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proxygap.agents.attacks.descent import descend, gradient_of, like

low, high = torch.tensor([[-1.0, 0.0, 2.0]]), torch.tensor([[1.0, 0.5, 2.0]])


def sloping(slope):
    return lambda places: gradient_of(lambda now: now @ slope, places).sign()


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), steps=st.integers(2, 20))
def test_a_slope_leads_into_its_corner(seed, steps):
    """From anywhere in the box, as all steps together reach further than it is wide."""
    rng = np.random.default_rng(seed)
    slope = torch.from_numpy(rng.normal(size=3)).float()
    found = descend(rng, sloping(slope), low, high, steps)
    torch.testing.assert_close(found, torch.where(slope > 0, low, high))
    up = descend(rng, sloping(slope), low, high, steps, torch.tensor([[-1.0]]))
    torch.testing.assert_close(up, torch.where(slope > 0, high, low))


def test_it_begins_anywhere_in_the_box_and_never_leaves_it():
    wide_low, wide_high = low.repeat(2000, 1), high.repeat(2000, 1)
    seen = []

    def direction(places):
        seen.append(places)
        return torch.randn(places.shape, generator=torch.Generator().manual_seed(len(seen))).clamp(-1, 1)

    seen.append(descend(np.random.default_rng(0), direction, wide_low, wide_high, 5))
    assert all(((places >= wide_low) & (places <= wide_high)).all() for places in seen)
    start = ((seen[0] - wide_low) / (wide_high - wide_low))[:, :2]
    np.testing.assert_allclose(start.mean(0), 0.5, atol=0.03)  # 4.6 standard errors
    np.testing.assert_allclose(start.std(0), 12**-0.5, atol=0.02)


def test_gradients_that_can_not_be_told_are_nothing():
    places = torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    found = gradient_of(lambda now: (now[:, 0] ** 2) + now[:, 1].sqrt(), places)
    torch.testing.assert_close(found, torch.tensor([[2.0, 0.0], [4.0, 0.5]]))


def test_values_are_spread_over_the_other_axes():
    assert like(np.arange(3), torch.zeros(3, 4, 5)).shape == (3, 1, 1)
    assert like(torch.zeros(3, 4), torch.zeros(3, 4, 5)).shape == (3, 4, 1)
