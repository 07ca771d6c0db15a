"""The checker passes sound environments and finds every planted fault, by the check that should, in a clear sentence."""

import gymnasium
import numpy as np
import pytest
from proxygap.envs.checking import check_proxy_env, rewards_seen, steps_a_second
from proxygap.envs.foreign import ProxyGapWrapper

from . import faults
from .worlds import SMALL, Walk

FAULTS = {
    faults.DrawsByMoving: ("pictures_are_drawn", "`draw` changes the state's place"),
    faults.TextInBytes: ("pictures_are_drawn", "`text` gives bytes[]"),
    faults.ChangesItsState: ("functions_are_pure", "`transition` changes state.place"),
    faults.TermsChangeTheStep: ("functions_are_pure", "`terms` changes action"),
    faults.LeavesItsBoundsLate: ("steps_are_sound", "after 21 steps lies outside of Box"),
    faults.NaNLate: ("steps_are_sound", "term 'slip' is not finite after"),
    faults.GlobalChance: ("chance_is_given", "draw from `rng` only"),
    faults.PythonsChance: ("chance_is_given", "draw from `rng` only"),
    faults.HiddenState: ("snapshots_are_exact", "something that changes is not in the state"),
    faults.RowsMeet: ("worlds_are_independent", "rows must not meet"),
    faults.DoublePrecision: ("steps_are_sound", "float64[3, 3] at the start: float32[3, 3] is needed"),
    faults.UnknownTerm: ("declarations", "'moves' weighs speed, which `terms` does not measure"),
    faults.NoProxy: ("declarations", "no proxies"),
    faults.WindowIntoTheState: ("functions_are_pure", "memory of the state's place"),
    faults.ShowsTheTruth: ("truth_is_hidden", "number 2 of the observation is the true reward of the step"),
    faults.NeverPickled: ("chance_is_given", "pickle"),
    faults.OneTermForAll: ("steps_are_sound", "term 'moved' is float64[]"),
    faults.ScriptOutside: ("policies_act", "policy 'stubborn' acts [2 2 2]"),
    faults.NoBatchAxis: ("steps_are_sound", "the state's falls is int64[1] for 3 worlds"),
    faults.MasksEverything: ("steps_are_sound", "`action_mask`"),
    faults.DrawsTooFew: ("steps_are_sound", "the first axis must be the batch"),
    faults.NegativeSeverity: ("steps_are_sound", "3 finite numbers from 0 are needed"),
    faults.NearerThanNear: ("steps_are_sound", "it must hold wherever that does"),
    faults.LeaksAcrossResets: ("chance_is_given", "run after episodes of another seed"),
    faults.GlobalChanceLate: ("chance_is_given", "at step 5"),
    faults.IgnoresItsSeed: ("chance_is_given", "draw from `rng` only"),
    faults.ReusesItsObservation: ("functions_are_pure", "the memory of the observation before"),
    faults.TermsComeAndGo: ("steps_are_sound", "measure the same every step"),
    faults.PaysTooMuch: ("rewards_have_a_scale", "of up to"),
    faults.BreaksAfterTheEnd: ("ended_worlds_go_on", "off the ice"),
    faults.DrawsOnlyTheStart: ("pictures_are_drawn", "nothing is painted there"),
}


@pytest.mark.parametrize("world", SMALL)
def test_sound_worlds_pass(world):
    assert check_proxy_env(world()) == []


@pytest.mark.parametrize(("world", "check", "message"), [(world, *found) for world, found in FAULTS.items()])
def test_a_planted_fault_is_found(world, check, message):
    problems = check_proxy_env(world())
    assert any(problem.check == check and message in str(problem) for problem in problems), problems


def test_the_scale_of_rewards_is_reported():
    least, mean, greatest = rewards_seen(Walk())["moves"]
    assert (least, greatest) == (1.0, 1.0) == (mean, mean)
    assert rewards_seen(Walk())["true"][0] == -0.5


@pytest.mark.parametrize(("world", "check"), faults.PLANTED.values(), ids=faults.PLANTED)
def test_what_a_checker_should_find_is_found(world, check):
    assert check in {problem.check for problem in check_proxy_env(world())}


def test_the_speed_is_reported():
    assert steps_a_second(Walk(), steps=20) > 5 * steps_a_second(faults.Slow(), steps=20)


class Forgetful(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """CartPole with a fault of a foreign simulator: it counts its episodes, and each begins further to the right."""

    def __init__(self, env):
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, env)
        self.episodes = 0

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        self.episodes += 1
        return observation + np.float32(0.01 * self.episodes), info


def foreign(simulator, terms):
    return ProxyGapWrapper(simulator, terms=terms, true={"upright": 1.0}, proxy={"alive": 1.0}, horizon=60)


TERMS = {"alive": lambda t: t.reward, "upright": lambda t: 1.0 - abs(t.next_observation[2])}


def test_a_sound_foreign_world_passes():
    assert check_proxy_env(foreign(gymnasium.make("CartPole-v1"), TERMS)) == []


@pytest.mark.parametrize(
    ("simulator", "terms", "check", "message"),
    [
        (Forgetful(gymnasium.make("CartPole-v1")), TERMS, "runs_repeat", "after episodes of another seed"),
        (
            gymnasium.wrappers.TransformObservation(
                gymnasium.make("CartPole-v1"), lambda seen: seen.astype(float), gymnasium.make("CartPole-v1").observation_space
            ),
            TERMS,
            "shown_steps_are_sound",
            "float64",
        ),
        (
            gymnasium.make("CartPole-v1"),
            TERMS | {"upright": lambda t: np.nan},
            "shown_steps_are_sound",
            "true reward that is not finite",
        ),
        (gymnasium.make("CartPole-v1"), TERMS | {"upright": lambda t: t.next_observation[1]}, "truth_is_hidden", "number 1"),
    ],
)
def test_a_fault_of_a_foreign_world_is_found(simulator, terms, check, message):
    problems = check_proxy_env(foreign(simulator, terms))
    assert any(problem.check == check and message in str(problem) for problem in problems), problems
