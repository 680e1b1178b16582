"""Muon against its definition, and beside AdamW."""

import copy

import pytest
import torch
from torch import nn

from vae_simpsons.training.muon import LENGTH, MOMENTUM, Muon, orthogonalise


def network() -> nn.Module:
    """Two matrices of one shape, a kernel, and what is none."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(24, 32), nn.Linear(32, 24), nn.Linear(24, 32), nn.Conv2d(16, 32, 3), nn.Linear(4, 32)
    )


def fill_gradients(net: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    for weight in net.parameters():
        weight.grad = torch.randn_like(weight)


def muon(net: nn.Module, weight_decay: float = 0.0) -> Muon:
    return Muon(net, 0.01, (0.9, 0.99), weight_decay, fused=True)


@pytest.mark.parametrize("shape", [(3, 32, 80), (2, 80, 32), (1, 32, 32)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    torch.manual_seed(0)
    u, s, v = torch.linalg.svd(torch.randn(*shape), full_matrices=False)
    s = torch.logspace(0, -1.5, s.shape[1]).expand_as(s)
    found = orthogonalise(7 * u @ torch.diag_embed(s) @ v)
    assert found.dtype == torch.float32
    core = u.mT @ found @ v.mT  # diagonal, if the directions have stayed
    values = core.diagonal(dim1=1, dim2=2)
    assert 0.6 < values.min() and values.max() < 1.3
    assert (core - torch.diag_embed(values)).abs().max() < 0.05


def test_a_step_is_the_definition_and_the_rest_is_adamws():
    """Two steps: Nesterov's momentum of each matrix made orthogonal; biases and narrow layers are torch's AdamW's."""
    ours, theirs = network(), network()
    optimizer = muon(ours, weight_decay=0.1)
    adamw = torch.optim.AdamW(theirs.parameters(), 0.01, (0.9, 0.99), weight_decay=0.1)
    matrices = {"0.weight", "1.weight", "2.weight", "3.weight"}
    momenta = {name: 0.0 for name in matrices}
    for seed in (1, 2):
        for net, chosen in ((ours, optimizer), (theirs, adamw)):
            fill_gradients(net, seed)
            before = copy.deepcopy(net)
            chosen.step()
            if net is theirs:
                continue
            for name, weight in before.named_parameters():
                if name in matrices:
                    gradient = ours.get_parameter(name).grad.flatten(1)
                    momenta[name] = MOMENTUM * momenta[name] + (1 - MOMENTUM) * gradient
                    direction = MOMENTUM * momenta[name] + (1 - MOMENTUM) * gradient
                    step = LENGTH * max(gradient.shape) ** 0.5 * orthogonalise(direction[None])[0]
                    wanted = weight.flatten(1) * (1 - 0.01 * 0.1) - 0.01 * step
                    torch.testing.assert_close(ours.get_parameter(name).flatten(1), wanted, rtol=0, atol=2e-4)
    for name, weight in theirs.named_parameters():
        if name not in matrices:
            torch.testing.assert_close(ours.get_parameter(name), weight, rtol=1e-6, atol=1e-7)


def test_a_step_that_is_not_finite_leaves_everything():
    net = network()
    optimizer = muon(net)
    fill_gradients(net, 1)
    optimizer.step()
    weights = copy.deepcopy(net.state_dict())
    state = copy.deepcopy([optimizer.state[weight] for weight in net.parameters()])
    fill_gradients(net, 2)
    for weight in net.parameters():
        weight.grad.view(-1)[0] = torch.nan
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    torch.testing.assert_close(net.state_dict(), weights, rtol=0, atol=0)
    torch.testing.assert_close([optimizer.state[w] for w in net.parameters()], state, rtol=0, atol=0)
    fill_gradients(net, 3)
    optimizer.found_inf = torch.zeros(())
    optimizer.step()
    assert not any(torch.equal(net.state_dict()[name], weight) for name, weight in weights.items())


def test_networks_without_matrices_and_without_the_rest():
    for net in (nn.Linear(4, 4), nn.Linear(32, 32, bias=False)):
        before = net.weight.detach().clone()
        optimizer = muon(net)
        fill_gradients(net, 1)
        optimizer.step()
        assert not torch.equal(net.weight, before)
