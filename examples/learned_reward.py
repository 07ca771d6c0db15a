"""From comparisons to an overoptimised agent, step by step (docs/learned_rewards.md). Run: python examples/learned_reward.py"""

import numpy as np
from proxygap.agents.regularized import NearReference, clone, noisy
from proxygap.agents.rollouts import collect, scripted
from proxygap.agents.selection import best_of
from proxygap.agents.training import train
from proxygap.envs import make
from proxygap.reward_models.feedback import cut
from proxygap.reward_models.preference import PreferenceReward
from proxygap.reward_models.teachers import Mistaken, Rational, compared

env, rng = make("sensor_lab"), np.random.default_rng(0)
policy = noisy(env, scripted(env, next(iter(env.policies()))), 0.5)  # the reference, with every second action at random

played = collect(env, policy, episodes=256, seed=0)
stretches = cut(played.segments(), played.true, played.terms, length=20, number=400, rng=rng)
first, second = stretches.pairs(200, rng)
teacher = Mistaken(Rational(beta=1.0), rate=0.1)
answers = compared(teacher, first, second, env.name, rng)

model = PreferenceReward(ensemble=5).fit(answers)
possible = teacher.bayes_accuracy(first, second, against="answers")
print(f"The model agrees with {model.score(answers):.0%} of the answers that it learned from.")
print(f"Of fresh ones nobody could foretell more than {possible:.0%}.")

fresh = collect(env, policy, episodes=1024, seed=10_000)
sizes = (1, 16, 256)
for n, gold in zip(sizes, best_of(model.returns(fresh.segments()), fresh.true.sum(1), sizes), strict=True):
    print(f"The best of {n} episodes by the learned return is truly worth {gold:.1f}.")

agent = train(env, reward=NearReference(model, clone(env, policy, noise=0.0)), steps=20_000, ent_coef=0.0)
for name, row in (("Before", agent.metrics[0]), ("After", agent.metrics[-1])):
    learned, true, kl = (np.mean(row[key]) for key in ("paid", "true", "kl"))
    print(f"{name} PPO: learned return {learned:.0f}, true return {true:.1f}, KL {kl:.0f} nats.")
