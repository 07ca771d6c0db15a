"""The town of the Pandemic world: who lives there, where they meet, and how a disease passes through them, day by day.

People are counts `[B, 2, 4, 10]`: last test positive or not, age group, stage of the disease. What happens to them
is drawn from these counts, person by person in effect, so that nobody is lost and a small outbreak can die out by chance.

Rules and rates are those of Sony's PandemicSimulator (Kompella et al. 2020, arXiv:2010.10560), with the town of 500, the
regulations and the second wave of Pan, Bhatia and Steinhardt (2022, arXiv:2201.03544). There each person walks from place to
place by the hour. Here a person of one group meets any of another equally often; how often, and where, was measured in the
simulator. docs/worlds/pandemic.md compares the two.
"""

import numpy as np

from .batch import Array, Draws
from .chance import binomial

GROUPS = ("minors", "workers", "retired", "nursing")  # up to 18, 65 and 100 years; and those who live in nursing homes
SIZES = np.array([113, 292, 88, 7])  # persons, expected of the simulator's 500
PERSONS = int(SIZES.sum())

# Contacts of an hour that one minor, worker, retired has in a day with minors, workers, retired, without regulation: means of
# five of the simulator's towns. A second contact within an infectious period counts for less, as it infects less often.
NONE = (0.0, 0.0, 0.0)
MEETINGS = {
    "homes": np.array([(7.3, 9.9, 2.7), (3.8, 3.7, 2.0), (3.2, 6.1, 0.0)]),
    "offices": np.array([NONE, (0.0, 1.0, 0.0), NONE]),
    "schools": np.array([(4.4, 1.4, 0.0), (0.5, 0.4, 0.0), NONE]),
    "groceries": np.array([NONE, (0.0, 5.7, 0.1), (0.0, 0.4, 0.0)]),
    "shops": np.array([NONE, (0.0, 4.4, 0.1), (0.0, 0.3, 0.0)]),
    "salons": np.array([(0.0, 0.1, 0.0), (0.0, 4.3, 0.0), (0.0, 0.1, 0.0)]),
    "restaurants": np.array([(0.1, 1.5, 0.1), (0.6, 14.4, 0.5), (0.1, 1.6, 0.1)]),
    "bars": np.array([NONE, (0.0, 5.4, 0.5), (0.0, 1.6, 0.2)]),
    "hospital": np.array([NONE, (0.0, 4.7, 0.0), NONE]),
}
FRESH = 0.6  # share of contacts at home that can be infected: of 2.3 housemates, one may have brought the disease

# Austin's regulations, stages 0 to 4, as Pan et al. set them. What a stage locks; how much people keep their distance.
STAGES = 5
OPEN = {
    "offices": (1, 1, 1, 1, 0),
    "schools": (1, 1, 0, 0, 0),
    "groceries": (1, 1, 1, 1, 1),
    "shops": (1, 1, 1, 1, 0),
    "salons": (1, 1, 0, 0, 0),
    "restaurants": (1, 1, 1, 1, 1),
    "bars": (1, 1, 1, 1, 1),
    "hospital": (1, 1, 1, 1, 1),
}
DISTANCE = np.array([0.0, 0.0, 0.3, 0.5, 0.7])  # share of contacts avoided, but for those at home
AT_HOME = np.array([1.0, 1.0, 1.2, 1.3, 1.5])  # contacts at home: who can't go out is there
COMPLIANCE = 0.99
HYGIENE = np.array([1.0, 0.8, 0.8, 0.8, 0.8])
MASKS = np.array([1.0, 1.0, 0.6, 0.6, 0.6])
SPREAD = 1.0 - COMPLIANCE * (1.0 - HYGIENE * MASKS)  # share of infections that hygiene and masks let through
STAY_HOME = COMPLIANCE * np.array([0.0, 1.0, 1.0, 1.0, 1.0])  # share of those tested positive who stay at home


def _everybody(meetings: Array) -> Array:
    """[4, 4] the same contacts with those in nursing homes told apart from the other retired, whom they equal."""
    share = SIZES[2:] / SIZES[2:].sum()
    return meetings[np.ix_([0, 1, 2, 2], [0, 1, 2, 2])] * np.array([1.0, 1.0, *share])


def _contacts(factor: Array, place: str) -> Array:
    """[5, 4, 4] the contacts in a place at each stage of the regulations, weighted by how well they spread the disease."""
    return (SPREAD * factor)[:, None, None] * _everybody(MEETINGS[place])


HOME = _contacts(FRESH * AT_HOME, "homes")
HOME[:, 3], HOME[:, :, 3] = 0.0, 0.0  # nursing homes are homes for one or two, who don't meet there
OUT = np.sum([_contacts((1.0 - DISTANCE) * OPEN[place], place) for place in OPEN], 0)

# Stages of the disease, and the two that each leads to.
SUSCEPTIBLE, EXPOSED, PRE_ASYMPTOMATIC, PRE_SYMPTOMATIC, ASYMPTOMATIC, SYMPTOMATIC, CRITICAL, IN_HOSPITAL, RECOVERED, DEAD = (
    range(10)
)
ROUTES = (
    (EXPOSED, EXPOSED),
    (PRE_SYMPTOMATIC, PRE_ASYMPTOMATIC),
    (ASYMPTOMATIC, ASYMPTOMATIC),
    (SYMPTOMATIC, SYMPTOMATIC),
    (RECOVERED, RECOVERED),
    (CRITICAL, RECOVERED),
    (DEAD, RECOVERED),
    (DEAD, RECOVERED),
)
MOVING = len(ROUTES)  # recovered and dead stay what they are

# Chances, averaged over the ages and risks within a group.
SYMPTOMS = 0.57  # of the exposed
EVER_CRITICAL = np.array([0.0023, 0.0943, 0.2673, 0.2673])  # of those with symptoms
DIES_WITHOUT_BED = np.array([0.243, 0.282, 0.427, 0.427])
DIES_IN_HOSPITAL = np.array([0.043, 0.082, 0.227, 0.227])
# Rates, 1/days.
END_OF_EXPOSURE, END_OF_PRESYMPTOMS, RECOVERY = 1 / 2.9, 1 / 2.3, 1 / 4.0
WORSENING = 0.1695
RECOVERY_WITHOUT_BED, DEATH_WITHOUT_BED = 0.0214286, 0.3
RECOVERY_IN_HOSPITAL, DEATH_IN_HOSPITAL = 1 / 10.7, 1 / 8.1

_worsens = RECOVERY * EVER_CRITICAL / (WORSENING + (RECOVERY - WORSENING) * EVER_CRITICAL)


def _either(first: Array | float, second: Array | float) -> tuple[Array, Array]:
    """The chances [4] to leave by either of two routes in a day, and by the first if by any."""
    leave = np.broadcast_to(first + second, 4)
    return leave, first / leave


_EITHER = (
    (np.zeros(4), np.ones(4)),  # the susceptible: depends on who is ill
    _either(END_OF_EXPOSURE * SYMPTOMS, END_OF_EXPOSURE * (1.0 - SYMPTOMS)),
    _either(END_OF_PRESYMPTOMS, 0.0),
    _either(END_OF_PRESYMPTOMS, 0.0),
    _either(RECOVERY, 0.0),
    _either(WORSENING * _worsens, RECOVERY * (1.0 - _worsens)),
    _either(DEATH_WITHOUT_BED * DIES_WITHOUT_BED, RECOVERY_WITHOUT_BED * (1.0 - DIES_WITHOUT_BED)),
    _either(DEATH_IN_HOSPITAL * DIES_IN_HOSPITAL, RECOVERY_IN_HOSPITAL * (1.0 - DIES_IN_HOSPITAL)),
)
LEAVE, FIRST = (np.stack(column, 1) for column in zip(*_EITHER, strict=True))  # [4, MOVING]
ILL = np.isin(np.arange(10), range(PRE_ASYMPTOMATIC, IN_HOSPITAL + 1))
INFECTIOUS = slice(PRE_ASYMPTOMATIC, IN_HOSPITAL)  # who lies in hospital meets nobody

# Testing. Who has symptoms, or was positive before, is tested more often.
SYMPTOM_TESTS, CRITICAL_TESTS, RETESTS = 0.3, 1.0, 0.033  # chances in a day
FALSE_POSITIVE, FALSE_NEGATIVE = 0.001, 0.01


def town(batch: int) -> Array:
    """Everybody susceptible, [B, 2, 4, 10]."""
    people = np.zeros((batch, 2, len(GROUPS), 10), np.int64)
    people[:, 0, :, SUSCEPTIBLE] = SIZES
    return people


def counts(people: Array, *stages: int) -> Array:
    """[B] persons in these stages of the disease."""
    return sum(people[..., stage].sum((1, 2)) for stage in stages)  # pyright: ignore[reportReturnType]


def infected(people: Array) -> Array:
    """[B] persons who carry the disease past exposure and are not critical, as the simulator counts them."""
    return people[..., PRE_ASYMPTOMATIC:CRITICAL].sum((1, 2, 3))


def critical(people: Array) -> Array:
    """[B] persons in hospital or in need of it."""
    return people[..., CRITICAL : IN_HOSPITAL + 1].sum((1, 2, 3))


def infection_chance(people: Array, stage: Array, rate: Array) -> Array:
    """[B, 4] the chance of the susceptible of each group to be infected today; `rate` [B] per hour of contact."""
    ill = people[..., INFECTIOUS].sum(-1)  # [B, 2, 4]
    out = ill[:, 0] + (1.0 - STAY_HOME[stage])[:, None] * ill[:, 1]
    met = (ill.sum(1)[..., None] * HOME[stage] + out[..., None] * OUT[stage]).sum(1)  # [B, 4] contacts with each group
    return 1.0 - (1.0 - rate[:, None]) ** (met / SIZES)


def progress(people: Array, chance: Array, rng: Draws) -> Array:
    """The people a day later; `chance` [B, 4] is that of infection."""
    moving = people[..., :MOVING]
    leave = np.broadcast_to(LEAVE, moving.shape).copy()
    leave[..., SUSCEPTIBLE] = chance[:, None]
    leaving = binomial(moving, leave, rng.random(moving.shape))
    first = binomial(leaving, FIRST, rng.random(moving.shape))
    later = people.copy()
    later[..., :MOVING] -= leaving
    for origin, (one, other) in enumerate(ROUTES):
        later[..., one] += first[..., origin]
        later[..., other] += leaving[..., origin] - first[..., origin]
    return later


def admitted(people: Array, beds: int) -> Array:
    """The people with free beds given to those tested critical, the young first."""
    free = np.maximum(beds - counts(people, IN_HOSPITAL), 0)
    waiting = people[:, 1, :, CRITICAL]
    earlier = np.cumsum(waiting, 1) - waiting
    taken = np.clip(free[:, None] - earlier, 0, waiting)
    later = people.copy()
    later[:, 1, :, CRITICAL] -= taken
    later[:, 1, :, IN_HOSPITAL] += taken
    return later


def tested(people: Array, testing_rate: float, rng: Draws) -> tuple[Array, Array]:
    """The people after a day's tests, and how many [B] were found to be well again. Of the others `testing_rate` are tested."""
    turned = binomial(people, _test_chances(testing_rate), rng.random(people.shape))
    change = turned[:, 0] - turned[:, 1]
    return people + np.stack([-change, change], 1), turned[:, 1].sum((1, 2))


def _test_chances(testing_rate: float) -> Array:
    """[2, 1, 10] the chance in a day that a test turns out another than the last one did."""
    tests = np.full((2, 10), testing_rate)
    tests[1] = max(testing_rate, RETESTS)
    tests[:, SYMPTOMATIC] = max(testing_rate, SYMPTOM_TESTS)
    tests[:, [CRITICAL, IN_HOSPITAL]] = CRITICAL_TESTS
    tests[:, DEAD] = 0.0
    positive = np.where(ILL, 1.0 - FALSE_NEGATIVE, FALSE_POSITIVE)
    return (tests * np.stack([positive, 1.0 - positive]))[:, None]


def new_variant(people: Array, seeds: int) -> Array:
    """The people when a variant arrives that nobody is immune to, with `seeds` persons exposed to it."""
    later = people.copy()
    later[..., SUSCEPTIBLE] += later[..., RECOVERED]
    later[..., RECOVERED] = 0
    return exposed(later, seeds)


def exposed(people: Array, seeds: int) -> Array:
    """The people with `seeds` of them exposed, first in the nursing homes, where the simulator's outbreaks begin."""
    later = people.copy()
    there = later[:, 0, ::-1, SUSCEPTIBLE]  # a view, nursing homes first
    taken = np.clip(seeds - (np.cumsum(there, 1) - there), 0, there)
    later[:, 0, ::-1, EXPOSED] += taken
    there -= taken
    return later
