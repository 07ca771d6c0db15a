"""Members are what they would be alone, see what they are shown, and become one reward by rules that are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from proxygap.envs.core import ProxygapError
from proxygap.reward_models.aggregation import AGGREGATIONS
from proxygap.reward_models.bottleneck import Bottleneck, divergence
from proxygap.reward_models.inputs import Inputs, Normaliser
from proxygap.reward_models.networks import (
    CHECK,
    Best,
    Ensemble,
    Examples,
    Training,
    averaged,
    bootstrapped,
    endless,
    held_losses,
    learning_losses,
    repeated,
)
from proxygap.reward_models.preference import PreferenceReward, bradley_terry

from .behaviour import QUICK, behaviour, changed, compared

SIZES, SEEDS = (4, 16, 16, 1), (11, 5, 8)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def loss(rewards, valid, target):
    first, second = (rewards * valid).sum(-1).unbind(-1)
    return bradley_terry(first - second, target)


def chance():
    return np.random.default_rng(0)


def examples(number, seed=0):
    """Pairs that a nonlinear reward decides."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(number, 2, 6, 4)).astype(np.float32)
    returns = (np.abs(x[..., 0]) - x[..., 1] * x[..., 2]).sum(2)
    target = torch.from_numpy((returns[:, 0] > returns[:, 1]).astype(np.float32))
    return Examples(torch.from_numpy(x), torch.ones(x.shape[:3]), target)


def plain(network, k):
    """Member k as torch's own layers."""
    layers = []
    for weight, bias in network.layers():
        layer = torch.nn.Linear(*weight.shape[1:])
        layer.weight.data, layer.bias.data = weight[k].detach().T.clone(), bias[k, 0].detach().clone()
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def test_a_member_is_a_network_of_torch():
    network, x = Ensemble.fresh(SIZES, SEEDS), torch.randn(50, 4)
    for k, rewards in enumerate(network(x)):
        torch.testing.assert_close(rewards, plain(network, k)(x)[:, 0])
    torch.testing.assert_close(network(x.expand(3, -1, -1)), network(x))


def test_fresh_weights_are_spread_as_those_of_torch():
    for tensor in Ensemble.fresh((100, 64, 1), range(20)).layers()[0]:
        assert float(tensor.detach().abs().max()) <= 0.1
        assert float(tensor.detach().std()) == pytest.approx(0.1 / 3**0.5, rel=0.05)


def test_members_trained_together_are_what_each_is_alone():
    train, held = (Examples(*(tensor.double() for tensor in vars(made).values())) for made in (examples(200), examples(40, 1)))
    training, found = Training(steps=200, patience=100), []
    for seeds in (SEEDS, *([seed] for seed in SEEDS)):  # in double precision: else what rounding leaves of a gradient adds up
        network = Ensemble.fresh(SIZES, seeds)
        found.append(network.with_parameters([network.flat.double()]))
        training(found[-1], train, held, loss, chance(), bootstrapped(200, seeds).double())
    together, *alone = found
    torch.testing.assert_close(together.flat, torch.cat([network.flat for network in alone]), rtol=1e-7, atol=1e-9)


def test_learning_lowers_the_held_out_loss_and_forwards_once_a_step(monkeypatch):
    network, held, calls = Ensemble.fresh(SIZES, SEEDS), examples(100, seed=1), []
    before, outputs = held_losses(network, held, loss), Ensemble.outputs
    monkeypatch.setattr(Ensemble, "outputs", lambda self, x: calls.append(x.shape) or outputs(self, x))
    history = Training(steps=300, batch=32)(network, examples(300), held, loss, chance())
    assert (held_losses(network, held, loss) < before - 0.1).all()
    assert len(history) == 300 // CHECK
    assert calls.count((32 * 2 * 6, 4)) == 300  # whole batches, never pair by pair


def test_gradients_are_those_of_finite_differences():
    form = Ensemble.fresh((4, 5, 1), SEEDS)
    x, batch = torch.randn(3, 8, 4, dtype=torch.float64), (3, 2, 2, 2)

    def total(flat, x):
        rewards = Ensemble(form.sizes, flat)(x).view(batch)
        return loss(rewards, torch.ones(batch[1:]), torch.tensor([1.0, 0.5])).sum()

    for inputs in (x, x[0]):  # a member's own, and the same for all
        assert torch.autograd.gradcheck(total, [form.flat.detach().double().requires_grad_(), inputs.requires_grad_()])


def test_what_a_member_is_not_shown_never_matters_to_it():
    network = Ensemble.fresh((8, 16, 1), range(6), seen=0.5)
    wide = Examples(torch.randn(60, 2, 6, 8), torch.ones(60, 2, 6), torch.ones(60))
    Training(steps=60)(network, wide, wide, loss, chance())
    matters = network.layers()[0][0].detach().abs().sum(2) > 0  # [K, d]
    assert (matters.sum(1) == 4).all()
    assert len(torch.unique(matters, dim=0)) > 1
    torch.testing.assert_close(network.with_parameters(network.parameters())(wide.x[:, 0, 0]), network(wide.x[:, 0, 0]))


def test_members_of_different_widths_are_what_narrower_networks_would_be():
    network = Ensemble.fresh((4, 16, 8, 1), range(5), narrowest=1 / 16)
    Training(steps=60)(network, examples(60), examples(20), loss, chance())
    (first, first_bias), (second, second_bias), (last, last_bias) = network.layers()
    x, widths = torch.randn(50, 4), [(1, 1), (2, 1), (4, 2), (8, 4), (16, 8)]
    for k, (outer, inner) in enumerate(widths):
        assert ((second[k] != 0).any(1).sum(), (last[k] != 0).any(1).sum()) == (outer, inner)
        hidden = (x @ first[k, :, :outer] + first_bias[k, :, :outer]).relu()
        hidden = (hidden @ second[k, :outer, :inner] + second_bias[k, :, :inner]).relu()
        torch.testing.assert_close((hidden @ last[k, :inner] + last_bias[k]).flatten(), network(x)[k])


def test_rounds_show_every_example_once_and_a_bootstrap_some_of_them_often():
    batches = endless(10, 3, chance())
    one_round = np.concatenate([next(batches) for _ in range(3)])
    assert len(set(one_round)) == 9
    assert len(next(endless(3, 16, chance()))) == 3
    drawn = bootstrapped(1000, SEEDS)
    assert drawn.sum(1).tolist() == [1000.0] * 3
    np.testing.assert_allclose((drawn > 0).float().mean(1), 1 - np.exp(-1), atol=0.05)


def test_what_a_member_never_drew_does_not_teach_it():
    taught = examples(48)
    spoilt = Examples(torch.where(torch.arange(48)[:, None, None, None] < 24, taught.x, 9.0), taught.valid, taught.target)
    weights, networks = (torch.arange(48) < 24).float().expand(2, -1), []
    for train in (taught, spoilt):
        networks.append(Ensemble.fresh(SIZES, SEEDS[:2]))
        Training(steps=30)(networks[-1], train, examples(0), loss, chance(), weights)
    torch.testing.assert_close(networks[0].flat, networks[1].flat)


def test_each_member_keeps_the_weights_that_did_best_until_its_patience_was_out():
    network = Ensemble((1, 1), torch.zeros(2, 2))
    best = Best(network, patience=2 * CHECK)
    told = [(3.0, 3.0), (2.0, 4.0), (2.5, 3.5), (1.0, 1.0), (1.5, 0.5)]  # the second member has done before it gets better
    done = []
    for look, losses in enumerate(told):
        network.flat.fill_(float(look))
        done.append(best.done(torch.tensor(losses)))
    best.restore()
    assert network.flat.tolist() == [[3.0, 3.0], [0.0, 0.0]]
    assert best.history == [3.0, 3.0, 3.0, 1.0, 1.0]
    assert done == [False] * 5
    assert best.done(torch.tensor([9.0, 9.0]))


def test_learning_that_diverges_says_so():
    with pytest.raises(ProxygapError, match="lower learning_rate"):
        Training(learning_rate=1e30)(Ensemble.fresh(SIZES, SEEDS), examples(50), examples(0), loss, chance())


def test_an_average_of_what_parted_is_as_good_and_of_what_never_met_is_useless():
    train, held = examples(600), examples(400, seed=1)
    apart = Ensemble.fresh(SIZES, SEEDS)
    Training(steps=600)(apart, train, held, loss, chance())
    parted = Ensemble.fresh(SIZES, SEEDS[:1])
    Training(steps=400)(parted, train, held, loss, chance())
    parted = repeated(parted, 3)
    Training(steps=200)(parted, train, held, loss, chance(), bootstrapped(600, SEEDS))
    good, bad = (held_losses(averaged(network), held, loss).item() for network in (parted, apart))
    assert good < held_losses(parted, held, loss).mean() + 0.02
    assert bad > held_losses(apart, held, loss).max() + 0.15


# Aggregation

members = arrays.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(-100, 100))


@given(members)
def test_aggregations_are_what_numpy_says(rewards):
    found = {name: how(torch.from_numpy(rewards), 0.5).numpy() for name, how in AGGREGATIONS.items()}
    np.testing.assert_allclose(found["mean"], rewards.mean(0))
    np.testing.assert_allclose(found["median"], np.median(rewards, 0), atol=1e-12)
    np.testing.assert_allclose(found["worst"], rewards.min(0))
    np.testing.assert_allclose(found["penalised"], rewards.mean(0) - 0.5 * np.var(rewards, 0), atol=1e-9)


def test_the_variance_is_that_of_the_members_themselves():
    assert AGGREGATIONS["penalised"](torch.tensor([1.0, 3.0]), 0.5) == 2.0 - 0.5 * 1.0  # ddof 0; 2.0 by ddof 1


# Inputs


@given(arrays.arrays(np.float32, (12, 2), elements=st.floats(-1000, 1000, width=32)), st.lists(st.integers(1, 11), max_size=4))
def test_a_running_mean_and_variance_do_not_depend_on_how_rows_arrive(rows, cuts):
    normaliser = Normaliser.fresh(2)
    for part in np.split(rows, sorted(set(cuts))):
        normaliser.update(torch.from_numpy(part))
    np.testing.assert_allclose(normaliser.mean, rows.mean(0, dtype=float), atol=1e-6)
    np.testing.assert_allclose(normaliser.squares / 12, rows.var(0, dtype=float), rtol=1e-6, atol=1e-6)


def test_rows_have_mean_0_and_deviation_1_and_a_constant_is_not_blown_up():
    steps = behaviour(200)
    steps.observation[..., 1] = 7.0
    inputs = Inputs.of(steps, steps.valid, ["observation"])
    rows = inputs(inputs.tensors(steps)).flatten(0, 1)
    np.testing.assert_allclose(rows.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(rows.std(0, correction=0), [1.0, 0.0, 1.0], atol=1e-5)
    moved = inputs(inputs.tensors(changed(steps, observation=steps.observation + 0.5)))
    assert float(moved[..., 1].max()) == 0.5


def test_padding_is_no_input():
    steps, inputs = behaviour(50, shortest=2), []
    for fill in (0.0, 99.0):
        filled = changed(steps, observation=np.where(steps.valid[..., None], steps.observation, fill))
        inputs.append(Inputs.of(filled, steps.valid, ["observation"]).normalisers["observation"])
    torch.testing.assert_close(inputs[0].mean, inputs[1].mean)


def test_choices_are_columns_and_one_never_seen_is_blank():
    steps = behaviour(20)
    inputs = Inputs.of(steps, steps.valid, ["action"])
    assert inputs.width == 4
    rows = inputs({"action": torch.tensor([0, 3, 8])})
    assert rows.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0]], requires_grad=True)
    assert inputs({"action": weights}).requires_grad
    assert inputs({"action": weights}).tolist() == [[0.5, 0.5, 0.0, 0.0]]


def test_boards_are_one_hot_where_asked_and_single_whole_numbers_always():
    steps = behaviour(20)
    board = changed(steps, observation=np.random.default_rng(0).integers(0, 3, (20, 10, 2, 2)).astype(np.float32))
    assert Inputs.of(board, steps.valid, ["observation"]).width == 4
    assert Inputs.of(board, steps.valid, ["observation"], one_hot=True).width == 2 * 2 * 3
    place = changed(steps, observation=np.arange(200).reshape(20, 10))
    assert Inputs.of(place, steps.valid, ["observation", "terminated"]).width == 201


def test_says_what_inputs_there_are():
    steps = behaviour(5)
    for names in (["state"], [], "observation"):
        with pytest.raises(ProxygapError, match="allowed are tuples of observation, action"):
            Inputs.of(steps, steps.valid, names)
    with pytest.raises(ProxygapError, match="don't ask for one_hot"):
        Inputs.of(behaviour(100), np.ones((100, 10), bool), ["observation"], one_hot=True)


# Bottleneck


def test_the_divergence_is_the_sum_over_dimensions():
    mean, log_variance = torch.randn(2, 7, 5)
    ours = torch.distributions.Normal(mean, (log_variance / 2).exp())
    closed = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(divergence(mean, log_variance), closed)
    opposite = torch.tensor([[3.0, -3.0]])  # whose average is 0, and which are nonetheless far from 0
    assert divergence(opposite, torch.zeros(1, 2)) == 9.0


def test_dear_information_is_used_less():
    train, told = examples(300), []
    for beta in (1e-3, 0.1, 10.0):
        network = Bottleneck.fresh(SIZES, 4, beta, SEEDS[:2])
        Training(steps=350)(network, train, examples(0), loss, chance())
        told.append(divergence(*network.encoded(train.x.flatten(0, 2))).mean().item())
    assert told[0] > 2 * told[1] > 4 * told[2]
    assert told[2] < 0.05


def test_information_is_paid_for_in_valid_steps_only():
    network, train = Bottleneck.fresh(SIZES, 4, 1.0, SEEDS[:1]), examples(3)
    train.valid[:, :, 3:] = 0
    cheap = learning_losses(network, train, torch.arange(3), lambda r, v, t: torch.zeros(1, 3))
    x = train.x[:, :, :3].flatten(0, 2)
    assert float(cheap.detach().mean()) == pytest.approx(float(divergence(*network.encoded(x)).detach().mean()), rel=1e-5)


def test_a_bottleneck_learns_a_reward_and_shows_where_it_puts_steps():
    model = PreferenceReward(latent=3, beta=1e-3, ensemble=2, steps=500).fit(compared(400))
    assert model.score(compared(200, seed=9)) > 0.85
    assert model.latents(behaviour(5)).shape == (2, 5, 10, 3)
    with pytest.raises(ProxygapError, match="no bottleneck"):
        PreferenceReward(**QUICK).fit(compared(20)).latents(behaviour(5))
