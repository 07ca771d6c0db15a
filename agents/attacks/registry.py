"""The attacks by name, as studies and claims build them: those that need one are given the generator."""

from collections.abc import Callable

from ...envs.core import ProxygapError
from .adversary import Adversary
from .best_of_n import BestOfN
from .cem import CEM
from .core import Attack, Maker
from .gradient import Gradient
from .latent import Latent
from .mutation import Mutation
from .observation import SeenOtherwise
from .portfolio import Portfolio
from .random_search import RandomSearch
from .substitution import Substitution

ATTACKS: dict[str, Callable[[Maker], Attack]] = {
    "random": lambda generator: RandomSearch(),
    "best_of_n": BestOfN,
    "mutation": lambda generator: Mutation(),
    "cem": lambda generator: CEM(),
    "substitution": lambda generator: Substitution(),
    "gradient": lambda generator: Gradient(),
    "adversary": lambda generator: Adversary(),
    "observation": lambda generator: SeenOtherwise(),
    "latent": lambda generator: Latent(),
    # Nobody trains on these: the generator itself, edits of other kinds, and many edits at a time that are likely ones.
    "fresh": lambda generator: Portfolio(
        [
            BestOfN(generator),
            Substitution(edits=("insert", "delete"), segment=2, policy=generator),
            Mutation(rate=0.3, policy=generator),
        ]
    ),
}


def attack(name: str, generator: Maker) -> Attack:
    """The attack called `name`; `generator` makes, from a seed, the policy whose options are likely. Raises ProxygapError."""
    if name not in ATTACKS:
        raise ProxygapError(f"no attack {name!r}; there are: {', '.join(ATTACKS)}")
    return ATTACKS[name](generator)
