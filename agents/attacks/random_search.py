"""Random search: what every other attack has to beat."""

from dataclasses import dataclass

from .core import Attack, Hunt


@dataclass
class RandomSearch(Attack):
    """Actions drawn uniformly, at every step anew."""

    population: int = 32  # candidates a trial tries at a time

    def run(self, hunt: Hunt) -> None:
        while len(rows := hunt.rows):
            hunt.query(rows, hunt.random_actions(len(rows), self.population, hunt.length))
