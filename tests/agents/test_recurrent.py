"""The recurrent generator learns known chances, remembers what it must and no more, and writes stories as its authors did."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from proxygap.agents import recurrent
from proxygap.agents.options import played, scenes
from proxygap.agents.recurrent import RecurrentGenerator, drawn
from proxygap.agents.rollouts import collect, evaluate, random_policy
from proxygap.envs.batch import Array
from proxygap.envs.core import Proxy, ProxyEnv, ProxygapError, State
from proxygap.envs.gridworlds.boat_race import BoatRace
from proxygap.envs.storyteller import Storyteller
from scipy import stats

from .worlds import Thermostat

torch.set_num_threads(1)
STORIES = Storyteller()
COLD = 1e-6  # a temperature at which the likeliest action is taken, but for ties
FOLLOW = 0.8  # chance of a round's player to go on with the next action of three, each of the others has half the rest


@dataclass
class Played(State):
    last: Array  # [B] action from 0 on, -1 before the first
    before: Array  # [B] the action before that


class Round(ProxyEnv[Played]):
    """Three actions, 5 to 7, and nothing to be seen: who plays must remember."""

    action_space = spaces.Discrete(3, start=5)
    observation_space = spaces.Box(0.0, 1.0, (1,))
    horizon = 11  # no multiple of three: who forgot to forget would not begin as in the first episode
    true_reward = {"action": 1.0}
    proxies = {"action": Proxy({"action": 2.0}, "misweighting", "counts double")}

    def initial(self, batch, rng, previous=None):
        return Played(np.full(batch, -1), np.full(batch, -1))

    def transition(self, state, action, rng):
        return Played(action - 5, state.last)

    def observation(self, state):
        return np.ones((len(state), 1), np.float32)

    def catastrophe(self, t):
        return np.zeros(len(t.action))

    def terms(self, t):
        return {"action": t.action.astype(float)}


ROUND = Round()


def onwards(state):
    """The next of three after the last action; any at first."""
    following = np.where((state.last[:, None] + 1) % 3 == np.arange(3), FOLLOW, (1 - FOLLOW) / 2)
    return np.where(state.last[:, None] < 0, 1 / 3, following)


def as_before(state):
    """What was done two steps ago; any at first."""
    return np.where(state.before[:, None] < 0, 1 / 3, state.before[:, None] == np.arange(3)).astype(float)


@cache
def rounds(chances, number=300, seed=0):
    return collect(ROUND, drawn(ROUND, chances, seed), number, seed).segments()


@cache
def stories(number, injuries, seed=0):
    return collect(STORIES, drawn(STORIES, partial(STORIES.chances, injuries=injuries), seed), number, seed)


@cache
def player(chances=onwards):
    return RecurrentGenerator(ROUND, hidden=16, epochs=25).fit(rounds(chances))


@cache
def writer():
    """Fitted in about two seconds to stories of which a third tell of injuries."""
    return RecurrentGenerator(STORIES, sequence=True, hidden=32, epochs=10).fit(stories(1200, 0.3).segments())


def shown(name):
    return {"steps": (ROUND, player), "sequence": (STORIES, writer)}[name]


def test_drawn_actions_have_the_chances_that_were_given():
    action = rounds(onwards, 4000, 1).action - 5
    follows = ((action[:, :-1] + 1) % 3 == action[:, 1:]).sum()
    assert stats.binomtest(int(follows), action[:, 1:].size, FOLLOW).pvalue > 1e-4
    assert stats.chisquare(np.bincount(action[:, 0])).pvalue > 1e-4


def test_known_chances_are_learned():
    segments = rounds(onwards, 200, 2)
    chances = player().probabilities(segments)
    true = np.full(chances.shape, 1 / 3)
    true[:, 1:] = np.where((segments.action[:, :-1, None] - 5 + 1) % 3 == np.arange(3), FOLLOW, (1 - FOLLOW) / 2)
    assert np.abs(chances - true).max() < 0.08
    entropy = (np.log(3) - 10 * (FOLLOW * np.log(FOLLOW) + (1 - FOLLOW) * np.log((1 - FOLLOW) / 2))) / 11
    assert -player().history_[-1] == pytest.approx(-entropy, abs=0.03)
    assert player().score(segments) == pytest.approx(-entropy, abs=0.05)


def test_what_was_done_two_steps_ago_is_remembered():
    segments = rounds(as_before, 200, 2)
    likely = player(as_before).probabilities(segments)[:, 2:].argmax(-1)
    assert (likely == segments.action[:, 2:] - 5).mean() > 0.99


@pytest.mark.parametrize("kind", ["steps", "sequence"])
def test_it_acts_by_the_chances_that_it_says_in_every_episode_of_any_batch(kind, monkeypatch):
    """Those of `probabilities`, which reads whole episodes apart; world i plays the episodes i, i + 4 and i + 8."""
    env, fitted = shown(kind)
    generator = fitted()
    tossed, toss = [], recurrent._tossed
    monkeypatch.setattr(recurrent, "_tossed", lambda chances, chance: tossed.append(chances) or toss(chances, chance))
    found = collect(env, generator.policy(), 12, 5, batch=4)
    played = np.stack(tossed).reshape(3, env.horizon, 4, -1).transpose(0, 2, 1, 3).reshape(12, env.horizon, -1)
    assert played == pytest.approx(generator.probabilities(found.segments()), abs=1e-5)


@pytest.mark.parametrize("kind", ["steps", "sequence"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_actions_are_drawn_by_chances_to_the_power_of_the_inverse_temperature(kind, temperature):
    env, generator = shown(kind)
    policy, loop = generator().policy(seed=1, temperature=temperature), env.loop(4000)
    loop.reset(7)
    loop.restore({name: np.repeat(array[:1], 4000, 0) for name, array in loop.snapshot().items()})  # one world, many times
    counts = np.bincount(policy(loop) - env.action_space.start, minlength=env.action_space.n)
    first = collect(env, random_policy(env), 1, 7).segments()
    chances = generator().probabilities(first)[0, 0] ** (1 / temperature)
    chances /= chances.sum()
    common = chances * 4000 > 5  # all others together count as one, with the rarest of these
    order = np.flatnonzero(common)[np.argsort(chances[common])]
    found, expected = counts[order].astype(float), 4000 * chances[order]
    found[0], expected[0] = found[0] + counts[~common].sum(), expected[0] + 4000 * chances[~common].sum()
    assert stats.chisquare(found, expected).pvalue > 1e-4
    assert generator().probabilities(first, temperature)[0, 0] == pytest.approx(chances)


def test_in_the_midst_of_a_story_all_that_was_written_is_read():
    """An option's chances are those of the same steps of the whole story, and it goes on as the story would have."""
    whole = collect(STORIES, writer().policy(temperature=COLD), 6, 3)
    found = scenes(STORIES, writer().policy(temperature=COLD), 6, 5, seed=3)
    options = played(STORIES, found, 5, writer().policy(temperature=COLD))
    window = np.arange(6)[:, None], found.state.time[:, None] + np.arange(5)
    assert np.array_equal(options.action, whole.action[window])
    chances = writer().probabilities(options.segments())
    assert chances == pytest.approx(writer().probabilities(whole.segments())[window], abs=1e-5)


def test_step_by_step_an_option_is_the_beginning():
    found = scenes(ROUND, random_policy(ROUND), 50, 4, seed=0)
    options = played(ROUND, found, 4, player().policy(temperature=COLD))
    assert len(set(options.action[:, 0])) == 1  # nothing is known of what came before
    assert ((options.action[:, :-1] - 5 + 1) % 3 == options.action[:, 1:] - 5).all()


def test_a_policy_may_be_asked_twice_and_turn_to_other_stories():
    policy, one, other, more = writer().policy(temperature=COLD), STORIES.loop(3), STORIES.loop(3), STORIES.loop(5)
    one.reset(0)
    other.reset(10)
    more.reset(0)
    for loop in (one, other, one, other, more, one):
        action = policy(loop)
        assert np.array_equal(action, policy(loop))
        assert np.array_equal(action, writer().policy(temperature=COLD)(loop))
        loop.step(action)


def test_it_repeats_from_its_seed_and_leaves_other_chance_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fitted = [RecurrentGenerator(ROUND, hidden=8, epochs=1).fit(rounds(onwards, 50), seed) for seed in (0, 0, 1)]
    written = [collect(ROUND, model.policy(seed), 5, 0).action for model, seed in zip(fitted, (0, 0, 1), strict=True)]
    assert torch.equal(torch.rand(2), expected)
    assert fitted[0].history_ == fitted[1].history_ != fitted[2].history_
    assert np.array_equal(written[0], written[1])
    assert not np.array_equal(collect(ROUND, fitted[0].policy(1), 5, 0).action, written[0])
    assert fitted[1].fit(rounds(onwards, 50), 1).history_ == fitted[2].history_  # what it knew before is gone


def test_steps_that_are_not_valid_are_neither_learned_nor_told():
    segments = rounds(onwards, 50)
    cut = segments.copy()
    cut.valid[:, 7:] = False
    padded = cut.copy()
    padded.action[:, 7:] = 0
    first, second = (RecurrentGenerator(ROUND, hidden=8, epochs=2).fit(given) for given in (cut, padded))
    assert first.history_ == second.history_
    chances = first.probabilities(cut)
    assert not chances[:, 7:].any()
    assert chances[:, :7].sum(-1) == pytest.approx(1.0)
    assert first.score(cut) == first.score(padded)


def broken(returns):
    return returns.terms[:, returns.names.index("nonsense")] > 0


def test_stories_are_written_as_their_authors_do_it_and_worse_with_more_noise():
    """No model is likelier than the author, who knows the mood; with other words in their place it could not be near."""
    held = stories(400, 0.3, 10_000)
    loop, likelihood = STORIES.loop(400), []
    loop.reset(10_000)
    for word in held.action.T:
        likelihood.append(np.log(STORIES.chances(loop.state, 0.3)[np.arange(400), word]))
        loop.step(word)
    error = 4 * np.std(np.sum(likelihood, 0)) / 20 / np.sqrt(400)
    assert np.mean(likelihood) - 0.2 < writer().score(held.segments()) < np.mean(likelihood) + error
    shares = [broken(evaluate(STORIES, writer().policy(0, noise), 500, 0)).mean() for noise in (0.5, 1.0, 1.5, 100.0)]
    assert shares[0] < 0.05
    assert shares[1] < 0.3 < shares[2] < shares[3]


@pytest.mark.slow
@pytest.mark.parametrize(("injuries", "low", "high"), [(0.0, 0.0, 0.01), (0.01, 0.01, 0.035)])
def test_injuries_are_as_rare_as_in_what_it_learned_from(injuries, low, high):
    generator = RecurrentGenerator(STORIES, sequence=True).fit(stories(5000, injuries).segments())
    returns = evaluate(STORIES, generator.policy(), 4000, 50_000)
    injured = int((returns.terms[:, returns.names.index("injury")] > 0).sum())
    interval = stats.binomtest(injured, 4000).proportion_ci(0.999)
    assert low < interval.high
    assert interval.low < high
    assert broken(returns).mean() < 0.05


def test_an_environment_of_ours_with_its_board():
    """BoatRace's racer, who goes round: what is seen tells where the boat is."""
    env = BoatRace()
    segments = collect(env, lambda loop: env.policies()["racer"](loop.state), 8, 0).segments()
    generator = RecurrentGenerator(env, hidden=16, epochs=15, batch=2).fit(segments)
    assert evaluate(env, generator.policy(temperature=COLD), 2, 0).true.min() > 90


def other_actions():
    """Rounds whose actions are counted from 0."""
    segments = rounds(onwards, 5).copy()
    segments.action = segments.action - 5
    return segments


CASES: dict[str, tuple[Any, str]] = {
    "no choice": (lambda: RecurrentGenerator(Thermostat()), r"Thermostat has actions Box"),
    "no choice to draw": (lambda: drawn(Thermostat(), onwards), r"Thermostat has actions Box"),
    "no row": (lambda: RecurrentGenerator(BoatRace(), sequence=True), "BoatRace shows Box.* not a row of whole numbers"),
    "no epoch": (lambda: RecurrentGenerator(ROUND, epochs=0, hidden=-1), "hidden -1, epochs 0: at least 1"),
    "not fitted": (lambda: RecurrentGenerator(ROUND).policy(), "call fit first"),
    "cold": (lambda: player().policy(temperature=0.0), "temperature 0.0: a finite number above 0"),
    "nothing": (lambda: RecurrentGenerator(ROUND).fit(rounds(onwards)[:0]), "0 stretches without a step"),
    "other actions": (lambda: player().probabilities(other_actions()), "actions 0 to 2: Round has 5 to 7"),
    "another world": (lambda: player().probabilities(stories(3, 0.0).segments()), r"observations \(27,\).*Round has \(1,\)"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_can_not_be_done_is_said(case):
    make, message = CASES[case]
    with pytest.raises(ProxygapError, match=message):
        make()
