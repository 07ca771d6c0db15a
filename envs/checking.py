"""Is this a sound environment? A check that looks at every step of whole episodes, not only at the first.

`check_proxy_env` tries what training, planning, branching and resuming rely on: declared terms, observations in their space,
finite rewards, pure functions, no chance but the given draws, worlds that don't touch each other, exact snapshots, pictures.
Other checkers look at one or a few steps of one world, and so pass environments that fail late. Whether an environment is
*interesting* (does gaming pay?) is another question.
"""

import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from .batch import Array, Draws
from .core import Loop, ProxyEnv, State, Transition, advance, weighted
from .painting import picture
from .recording import columns, first_difference, random_actions, record, unequal

BATCH = 3  # worlds side by side in a check
SEED = 7
FEWEST, MOST, MOST_FOREIGN = 40, 1_000, 200  # steps of a run; between them, an episode and a little
WATCHED = 60  # steps in which every function is watched for changing what it is given
FRAMES = 3
LARGEST = 1e6  # the most that a step may be worth

Env = ProxyEnv[Any]
Check = Callable[[Env], Iterable[str]]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an environment: the check that found it, and a sentence that says what and where."""

    check: str
    message: str

    def __str__(self) -> str:
        return self.message


def check_proxy_env(env: Any) -> list[Problem]:
    """Everything found wrong with `env`, a ProxyEnv or a foreign environment with declared terms; empty if it is sound.

    Declarations come first, then single steps, then whole runs. Each relies on the ones before, so an environment that fails
    one stage is not tried on the next. Each check is handed a copy: what it leaves behind in the environment is no excuse.
    A foreign environment keeps its simulator to itself, so that less can be tried on it.
    """
    native = isinstance(env, ProxyEnv)
    for stage in STAGES if native else FOREIGN_STAGES:
        if problems := [problem for check in stage for problem in _tried(check, deepcopy(env) if native else env)]:
            return problems
    return []


def steps_a_second(env: Env, steps: int = 200) -> float:
    """Steps a second of one world under random actions."""
    loop = env.loop(1)
    loop.reset(SEED)
    actions = list(random_actions(env, 1, steps, SEED))
    begun = time.perf_counter()
    for action in actions:
        loop.step(action)
    return steps / (time.perf_counter() - begun)


def rewards_seen(env: Env) -> dict[str, tuple[float, float, float]]:
    """Least, mean and greatest value per step of the true reward and of every proxy, under random actions: their scales."""
    run = record(_started(env), _actions(env))
    values = {name: weighted(weights, {term: run[term].ravel() for term in weights}) for name, weights in _rewards(env).items()}
    return {name: (float(paid.min()), float(paid.mean()), float(paid.max())) for name, paid in values.items()}


# What is declared


def declarations(env: Env) -> Iterator[str]:
    """Spaces that can be stacked, a horizon, at least one proxy, and weights over terms that exist."""
    for name in ("observation_space", "action_space"):
        if getattr(getattr(env, name, None), "shape", None) is None:
            yield f"{name} is {getattr(env, name, 'missing')}: give a Box, Discrete, MultiDiscrete or MultiBinary space"
            return
    if not isinstance(env.horizon, int) or env.horizon < 1:
        yield f"horizon is {env.horizon!r}: give the whole number of steps, at least 1, that an episode may last"
    if not env.proxies:
        yield "no proxies: name at least one Proxy, whose weights an agent is paid by"
    for reward, weights in _rewards(env).items():
        if unknown := [term for term in weights if term not in env.term_names]:
            yield f"{reward!r} weighs {', '.join(unknown)}, which `terms` does not measure; it has: {', '.join(env.term_names)}"


# Single steps


def steps_are_sound(env: Env) -> Iterator[str]:
    """Observations, terms, states and masks of the right shape and type, in their spaces and finite, at every step."""
    state = env.initial(BATCH, _draws())
    if problems := list(_state_problems(state)):
        yield from problems
        return
    yield from _observation_problems(env, env.observation(state), "at the start")
    for count, t in enumerate(_steps(env, _span(env)), 1):
        if problems := list(_step_problems(env, t, f"after {count} steps")):
            yield from problems
            return


def shown_steps_are_sound(env: Env) -> Iterator[str]:
    """What a foreign environment shows has the declared shape and type, and lies in its space, at every step."""
    loop = _started(env)
    yield from _observation_problems(env, loop.observation, "at the start")
    for count, action in enumerate(_actions(env), 1):
        if problems := list(_observation_problems(env, loop.step(action).transition.next_observation, f"after {count} steps")):
            yield from problems
            return


def functions_are_pure(env: Env) -> Iterator[str]:
    """No function changes the state or action it is given, and no observation is a window into the state."""
    for t in _steps(env, WATCHED):
        if np.shares_memory(env.observation(t.state), env.observation(t.next_state)):
            yield "`observation` hands out the memory of the observation before, which is overwritten: make a new array"
            return
        before = t.copy().arrays()
        for name, call in _calls(env, t).items():
            call()
            if changed := [field for field, array in t.arrays().items() if unequal(before[field], array)]:
                yield f"`{name}` changes {changed[0]} of what it is given: work on a copy (`state.copy()`)"
                return
        if shared := [name for name, array in t.state.arrays().items() if np.shares_memory(array, env.observation(t.state))]:
            yield f"`observation` hands out the memory of the state's {shared[0]}: who writes into it moves the world; copy it"
            return


def policies_act(env: Env) -> Iterator[str]:
    """Scripted policies act inside the action space in every state."""
    for name, policy in env.policies().items():
        for t in _steps(env, WATCHED):
            action = np.asarray(policy(t.state))
            if len(action) != BATCH or not all(env.action_space.contains(row) for row in action):
                yield f"policy {name!r} acts {action}: {BATCH} rows of {env.action_space} are needed"
                break


def _step_problems(env: Env, t: Transition[Any], when: str) -> Iterator[str]:
    yield from _state_problems(t.next_state)
    yield from _observation_problems(env, t.next_observation, when)
    if t.terminated.shape != (BATCH,) or t.terminated.dtype != bool:
        yield f"`terminal` gives {_kind(t.terminated)} {when}: bool[{BATCH}] is needed"
    terms = env.terms(t)
    if list(terms) != env.term_names:
        yield f"`terms` measures {', '.join(terms)} {when}, and {', '.join(env.term_names)} before: measure the same every step"
    for name, values in terms.items():
        if np.shape(values) != (BATCH,) or np.asarray(values).dtype.kind not in "fiub":
            yield f"term {name!r} is {_kind(values)} {when}: numbers of shape [{BATCH}] are needed"
        elif not np.isfinite(values).all():
            yield f"term {name!r} is not finite {when}: {values}"
    yield from _catastrophe_problems(env.catastrophe(t), env.near_catastrophe(t), when)
    mask = env.action_mask(t.next_state)
    if mask is not None and (mask.dtype != bool or mask.shape[0] != BATCH or not mask.any(-1).all()):
        yield f"`action_mask` is {_kind(mask)} {when}: bool[{BATCH}, n] is needed, with an allowed action in every row"


def _catastrophe_problems(narrow: Array | None, wide: Array | None, when: str) -> Iterator[str]:
    for name, severity in (("catastrophe", narrow), ("near_catastrophe", wide)):
        if severity is not None and (np.shape(severity) != (BATCH,) or not (np.isfinite(severity) & (severity >= 0)).all()):
            yield f"`{name}` gives {severity} {when}: {BATCH} finite numbers from 0 are needed"
            return
    if narrow is not None and (wide is None or (wide[narrow > 0] == 0).any()):
        yield f"`near_catastrophe` gives {wide} where `catastrophe` gives {narrow} {when}: it must hold wherever that does"


def _state_problems(state: State) -> Iterator[str]:
    for name, array in state.arrays().items():
        if np.shape(array)[:1] != (BATCH,):
            yield f"the state's {name} is {_kind(array)} for {BATCH} worlds: the first axis must be the batch"


def _observation_problems(env: Env, seen: Array, when: str) -> Iterator[str]:
    space, shape = env.observation_space, [BATCH, *(env.observation_space.shape or ())]
    if list(np.shape(seen)) != shape or seen.dtype != space.dtype:
        yield f"the observation is {_kind(seen)} {when}: {space.dtype}{shape} is needed"
    elif outside := [row for row in seen if not space.contains(row)]:
        yield f"the observation {np.array2string(outside[0], threshold=12)} {when} lies outside of {space}"


def _calls(env: Env, t: Transition[Any]) -> dict[str, Callable[[], Any]]:
    """Each of the environment's functions, applied to one step."""
    return {
        "transition": lambda: env.transition(t.state, t.action, _draws()),
        "initial": lambda: env.initial(BATCH, _draws(), t.state),
        "terms": lambda: env.terms(t),
        "catastrophe": lambda: env.catastrophe(t),
        "near_catastrophe": lambda: env.near_catastrophe(t),
        **{
            name: (lambda name=name: getattr(env, name)(t.state)) for name in ("observation", "terminal", "action_mask", "text")
        },
        **{f"policies()[{name!r}]": (lambda policy=policy: policy(t.state)) for name, policy in env.policies().items()},
    }


# Whole runs


def chance_is_given(env: Env) -> Iterator[str]:
    """Same seed, same actions, same everything: again, in a copy, in a pickled copy, and after episodes of another seed."""
    used = deepcopy(env)
    record(_started(used, SEED + 1), _actions(used))
    copies = {"in a copy": deepcopy(env), "in a pickled copy": pickle.loads(pickle.dumps(env))}
    first = record(_started(env), _actions(env))
    for what, other in (copies | {"again": env, "after episodes of another seed": used}).items():
        if difference := first_difference(first, record(_started(other), _actions(env))):
            yield f"same seed, same actions, run {what}, another {difference}: draw from `rng` only, keep all else in the state"
            return


def runs_repeat(env: Env) -> Iterator[str]:
    """Same seed, same actions, same everything, in simulators made anew and in ones that have run before."""
    first, used = record(_started(env), _actions(env)), _started(env, SEED + 1)
    record(used, _actions(env))
    used.reset(SEED)
    for what, loop in {"in new simulators": _started(env), "after episodes of another seed": used}.items():
        if difference := first_difference(first, record(loop, _actions(env))):
            yield f"same seed, same actions, run {what}, another {difference}: is its chance all drawn from its own np_random?"


def ended_worlds_go_on(env: Env) -> Iterable[str]:
    """Planners step ended worlds along with live ones: it need mean nothing, but must not break."""
    loop = Loop(env, BATCH, autoreset=False)
    loop.reset(SEED)
    record(loop, random_actions(env, BATCH, min(env.horizon + 5, MOST), SEED))
    return []


def worlds_are_independent(env: Env) -> Iterator[str]:
    """World i of a batch seeded s is the single world seeded s + i, so any split of a batch gives the same."""
    batch = record(_started(env), _actions(env))
    for part in (slice(0, 1), slice(1, BATCH)):
        loop = env.loop(part.stop - part.start)
        loop.reset(SEED + part.start)
        apart = dict(record(loop, (action[part] for action in _actions(env))))
        apart.pop("state.picture", None)  # foreign worlds are drawn only where they are alone
        if difference := first_difference(apart, columns(batch, part)):
            yield f"a world among {BATCH} differs from the same world without the others in {difference}: rows must not meet"
            return


def snapshots_are_exact(env: Env) -> Iterator[str]:
    """A run goes on from a snapshot, and from a branched world, as it did before."""
    loop, actions = _started(env), list(_actions(env))
    part = len(actions) // 3
    record(loop, actions[:part])
    snapshot, twin = loop.snapshot(), loop.branch([1]) if isinstance(env, ProxyEnv) else None
    first = record(loop, actions[part:])
    loop.restore(snapshot)
    if difference := first_difference(first, record(loop, actions[part:])):
        yield f"going on from a snapshot gives another {difference}: something that changes is not in the state"
    branched = twin and record(twin, (action[1:2] for action in actions[part:]))
    if branched and (difference := first_difference(columns(first, slice(1, 2)), branched)):
        yield f"a branched world differs from the one it left in {difference}: something that changes is not in the state"


def truth_is_hidden(env: Env) -> Iterator[str]:
    """No number that is observed is the true reward of the step, or the true return so far."""
    run = record(_started(env), _actions(env))
    seen = run["next_observation"].reshape(*run["true"].shape, -1).astype(float)
    for what, truth in {"reward of the step": run["true"], "return so far": run["ended.true"]}.items():
        told = np.isclose(seen, truth[..., None], rtol=1e-5, atol=1e-6).all((0, 1))
        if told.any() and len(np.unique(truth)) > 2:  # a flag of two values may well be seen
            yield f"number {np.argmax(told)} of the observation is the true {what}: an agent must not be shown the truth"


def rewards_have_a_scale(env: Env) -> Iterator[str]:
    """No reward is so large that learning from it, or adding it up, loses all digits of the others."""
    for reward, (least, _, greatest) in rewards_seen(env).items():
        if (largest := max(-least, greatest)) > LARGEST:
            yield f"the reward {reward!r} has steps of up to {largest:.3g}: keep them below {LARGEST:.0e}, in a larger unit"


def pictures_are_drawn(env: Env) -> Iterator[str]:
    """Pictures keep one size, drawing changes nothing, and a text, where there is one, is a string."""
    loop, sizes = _started(env), set()
    for action in random_actions(env, BATCH, FRAMES, SEED):
        before = loop.state.copy().arrays()
        frame = picture(env, loop.state)
        if changed := [name for name, array in loop.state.arrays().items() if unequal(before[name], array)]:
            yield f"`draw` changes the state's {changed[0]}"
        if not isinstance(text := env.text(loop.state), str | None):
            yield f"`text` gives {_kind(text)}: a string or None is needed"
            return
        sizes.add(frame.shape)
        loop.step(action)
    if len(sizes) > 1:
        yield f"pictures change their size: {sizes}"


STAGES: tuple[tuple[Check, ...], ...] = (
    (declarations,),
    (steps_are_sound,),
    (functions_are_pure, policies_act, chance_is_given, ended_worlds_go_on),
    (worlds_are_independent, snapshots_are_exact, truth_is_hidden, rewards_have_a_scale, pictures_are_drawn),
)

FOREIGN_STAGES: tuple[tuple[Check, ...], ...] = (
    (declarations,),
    (shown_steps_are_sound,),
    (runs_repeat, worlds_are_independent, snapshots_are_exact, truth_is_hidden, rewards_have_a_scale),
)


# What the checks share


def _tried(check: Check, env: Env) -> list[Problem]:
    """The problems one check finds; whatever the environment raises is one of them."""
    found: list[Problem] = []
    try:
        found.extend(Problem(check.__name__, message) for message in check(env))
    except Exception as error:
        found.append(Problem(check.__name__, f"{env.name} raised {type(error).__name__}: {error}"))
    return found


def _rewards(env: Env) -> dict[str, Any]:
    return {"true": env.true_reward} | {name: proxy.weights for name, proxy in env.proxies.items()}


def _steps(env: Env, steps: int) -> Iterator[Transition[Any]]:
    """So many steps of a batch under random actions, each world beginning anew where its episode ends."""
    draws = _draws()
    state = env.initial(BATCH, draws)
    for action in random_actions(env, BATCH, steps, SEED):
        yield (t := advance(env, state, action, draws))
        state = t.next_state.copy()
        rows = np.flatnonzero(t.terminated | (state.time >= env.horizon))
        if len(rows):
            streams = draws[rows]
            state[rows] = env.initial(len(rows), streams, state[rows])
            draws[rows] = streams


def _started(env: Env, seed: int = SEED) -> Loop[Any]:
    loop = env.loop(BATCH)
    loop.reset(seed)
    return loop


def _actions(env: Env) -> Iterator[Array]:
    return random_actions(env, BATCH, _span(env), SEED)


def _span(env: Env) -> int:
    """Steps of a run: an episode and a little, within reason."""
    return int(np.clip(env.horizon + 10, FEWEST, MOST if isinstance(env, ProxyEnv) else MOST_FOREIGN))


def _draws() -> Draws:
    return Draws.seeded(SEED + np.arange(BATCH))


def _kind(values: Any) -> str:
    return f"{getattr(values, 'dtype', type(values).__name__)}{list(np.shape(values))}"
