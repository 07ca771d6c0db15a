"""Random search: what every other attack has to beat."""

from dataclasses import dataclass

from .core import Attack, Hunt, at_least_one


@dataclass
class RandomSearch(Attack):
    """Actions drawn uniformly, at every step anew."""

    population: int = 32  # candidates a trial tries at a time

    def __post_init__(self) -> None:
        at_least_one(population=self.population)

    def run(self, hunt: Hunt) -> None:
        while len(rows := hunt.rows):
            hunt.query(rows, hunt.random_actions(len(rows), self.population, hunt.length))
