"""The flow prior, against targets whose velocity and distribution are known."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from vae_simpsons.models.build import build_velocity
from vae_simpsons.models.priors import FlowPrior, flow_loss, heun, standardise
from vae_simpsons.models.priors.flow import GUIDED
from vae_simpsons.models.priors.transformer import patch_size

MEAN = torch.tensor([0.5, -0.3])
FACTOR = torch.tensor([[1.2, 0.0], [-0.5, 0.4]])
COVARIANCE = FACTOR @ FACTOR.T
CLASS_MEANS = torch.tensor([[-1.5, 0.0], [1.5, 0.5]])
CLASS_STD = 0.4


def normal(count: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def gaussian_velocity(x: Tensor, t: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """E[z - eps | x_t = x] where z ~ N(mean, covariance); x (B, D), t (B,).

    x_t = (1 - t) eps + t z has mean t m and covariance C = (1 - t)^2 I + t^2 S; its covariance with z - eps is
    t S - (1 - t) I. All are Gaussian, so E[z - eps | x] = m + (t S - (1 - t) I) C^-1 (x - t m).
    """
    eye, t = torch.eye(x.shape[1], dtype=x.dtype), t[:, None, None].to(x.dtype)
    of_path, with_velocity = (1 - t) ** 2 * eye + t**2 * covariance, t * covariance - (1 - t) * eye
    centred = x[:, :, None] - t * mean[:, None]
    return mean + (with_velocity @ torch.linalg.solve(of_path, centred))[:, :, 0]


class ClassVelocity(nn.Module):
    """The velocity of two classes N(CLASS_MEANS[c], CLASS_STD^2 I) and, without a label, of their even mixture."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        labels = torch.full((len(x),), -1) if labels is None else labels
        means, covariance = CLASS_MEANS.to(x.dtype), CLASS_STD**2 * torch.eye(2, dtype=x.dtype)
        each = torch.stack([gaussian_velocity(x, t, mean, covariance) for mean in means], 1)  # (B, 2, D)
        variance = (1 - t) ** 2 + t**2 * CLASS_STD**2
        distances = (x[:, None] - t[:, None, None] * means).square().sum(2)
        of_mixture = (-0.5 * distances / variance[:, None]).softmax(1)  # p(c | x_t = x)
        shares = torch.where(labels[:, None] < 0, of_mixture, torch.eye(2, dtype=x.dtype)[labels])
        return (shares[:, :, None] * each).sum(1)


def train(data: Tensor, labels: Tensor | None, classes: int, width: int, steps: int, drop: float = 0.1) -> FlowPrior:
    """A flow trained on data (N, D), 256 rows a step."""
    torch.manual_seed(0)
    prior = FlowPrior(build_velocity(data.shape[1:], classes, width, 3), data.shape[1:], classes)
    for buffer, value in zip((prior.mean, prior.std), standardise(data, torch.full_like(data, -20.0)), strict=True):
        buffer.copy_(value)
    adam = torch.optim.Adam(prior.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        rows = torch.randint(len(data), (256,))
        flow_loss(prior, data[rows], None if labels is None else labels[rows], drop=drop).mean().backward()
        adam.step()
        schedule.step()
        adam.zero_grad()
    return prior


@torch.no_grad()
def velocity_gap(prior: FlowPrior, labels: Tensor | None, truth) -> float:
    """Mean squared error of the learned velocity over that of zero, where paths pass; truth is truth(x, t)."""
    t = torch.linspace(0.1, 0.9, 2048)
    z = (prior.draw(normal(2048, 2, seed=7), labels) - prior.mean) / prior.std
    x = (1 - t[:, None]) * normal(2048, 2, seed=8) + t[:, None] * z
    expected = truth(x, t)
    return float((prior.velocity(x, t, labels) - expected).square().mean() / expected.square().mean())


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Squared maximum mean discrepancy, kernels exp(-d^2 / (2 h^2)) of h = 0.1 and 0.3, unbiased."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        squares = torch.cdist(x, y).square()
        return sum((-squares / (2 * h * h)).exp() for h in (0.1, 0.3))

    def within(x: Tensor) -> Tensor:
        return (kernel(x, x).sum() - 2 * len(x)) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def two_moons(count: int, seed: int) -> Tensor:
    """Two interleaved half circles with noise 0.05, (count, 2)."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.pi * torch.rand(count, generator=generator)
    arcs = torch.stack([angle.cos(), angle.sin()], 1)
    lower = torch.arange(count) % 2 == 1
    arcs[lower] = torch.tensor([1.0, 0.5]) - arcs[lower]
    return arcs + 0.05 * torch.randn(count, 2, generator=generator)


@pytest.fixture(scope="module")
def on_gaussian() -> FlowPrior:
    return train(MEAN + normal(50_000, 2) @ FACTOR.T, None, 0, 32, 500)


@pytest.fixture(scope="module")
def on_classes() -> FlowPrior:
    labels = torch.arange(50_000) % 2
    return train(CLASS_MEANS[labels] + CLASS_STD * normal(50_000, 2), labels, 2, 48, 500, drop=0.4)


def test_the_learned_velocity_is_the_closed_form_of_a_gaussian(on_gaussian):
    scale = on_gaussian.std
    mean, covariance = (MEAN - on_gaussian.mean) / scale, COVARIANCE / (scale[:, None] * scale)
    assert velocity_gap(on_gaussian, None, lambda x, t: gaussian_velocity(x, t, mean, covariance)) < 0.01


def test_samples_have_the_gaussians_moments(on_gaussian):
    z = on_gaussian.draw(normal(4000, 2, seed=1))
    torch.testing.assert_close(z.mean(0), MEAN, atol=0.08, rtol=0)
    torch.testing.assert_close(z.T.cov(), COVARIANCE, atol=0.1, rtol=0)


def test_the_loss_of_the_closed_form_is_what_cannot_be_known():
    """Var[z - eps | x_t], which is 2 (1 - rho^2) for z, eps ~ N(0, 1): least at t = 1/2 it is 0, at the ends 1."""

    class Known(nn.Module):
        def forward(self, x, t, labels=None):
            return gaussian_velocity(x, t, torch.zeros(2), torch.eye(2))

    prior, t = FlowPrior(Known(), (2,)), torch.tensor([0.2, 0.5, 0.9]).repeat_interleave(20_000)
    found = flow_loss(prior, normal(60_000, 2), None, normal(60_000, 2, seed=1), t).view(3, -1).mean(1)
    path = (1 - t) ** 2 + t**2
    expected = (2 - (2 * t - 1) ** 2 / path).view(3, -1)[:, 0]
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0)


def test_two_moons_are_drawn_as_two_moons():
    prior = train(two_moons(50_000, 0), None, 0, 48, 1000)
    truth, again = two_moons(3000, 1), two_moons(3000, 2)
    z = prior.draw(normal(3000, 2, seed=1))
    matched = truth.mean(0) + normal(3000, 2, seed=2) @ torch.linalg.cholesky(truth.T.cov()).T
    far = kernel_distance(matched, truth)
    assert abs(kernel_distance(again, truth)) < 0.01 * far
    assert kernel_distance(z, truth) < 0.1 * far


def test_the_sampler_follows_a_known_velocity_to_the_exact_answer():
    """The Gaussians x_t keep their axes, and each axis is scaled: x_1 = m + S^1/2 noise if S is diagonal."""

    class Known(nn.Module):
        def forward(self, x, t, labels=None):
            return gaussian_velocity(x, t, torch.tensor([1.0, -2.0]), torch.tensor([0.25, 4.0]).diag())

    prior = FlowPrior(Known(), (2,))
    prior.mean.copy_(torch.tensor([10.0, 20.0]))
    prior.std.copy_(torch.tensor([3.0, 5.0]))
    noise, seen = normal(100, 2), []
    z = prior.draw(noise, steps=50, temperature=0.5, progress=seen.append)
    expected = torch.tensor([10.0, 20.0]) + torch.tensor([3.0, 5.0]) * (
        torch.tensor([1.0, -2.0]) + torch.tensor([0.5, 2.0]) * 0.5 * noise
    )
    torch.testing.assert_close(z, expected, atol=0.02, rtol=0)
    assert seen == list(range(1, 51))


def test_heuns_error_falls_with_the_square_of_the_steps():
    x = normal(50, 1).double()
    errors = []
    for steps in (10, 20, 40):
        found = heun(lambda x, t: t - 2 * x, x, steps)
        errors.append(float((found - ((x + 0.25) * math.exp(-2) + 0.25)).abs().max()))
    assert 3.5 < errors[0] / errors[1] < 4.5 and 3.5 < errors[1] / errors[2] < 4.5


def follow(x: Tensor, labels: Tensor, guidance: float) -> Tensor:
    """x_1 of the velocity that is extrapolated from the closed forms, by 200 midpoint steps in 64 bits."""
    velocity, x, steps = ClassVelocity(), x.double(), 200

    def at(x: Tensor, time: float) -> Tensor:
        t = torch.full((len(x),), time, dtype=torch.float64)
        with_class, without = velocity(x, t, labels), velocity(x, t, None)
        used = guidance if guidance <= 1 or GUIDED[0] < time < GUIDED[1] else 1.0
        return without + used * (with_class - without)

    for i in range(steps):
        middle = x + 0.5 / steps * at(x, (i + 1e-9) / steps)
        x = x + at(middle, (i + 0.5) / steps) / steps
    return x.float()


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 2.0])
def test_guidance_extrapolates_from_the_unconditional_velocity(guidance):
    noise, labels = normal(50, 2), torch.arange(50) % 2
    prior = FlowPrior(ClassVelocity(), (2,), class_count=2)
    z = prior.draw(noise, labels, guidance=guidance, steps=100)
    torch.testing.assert_close(z, follow(noise, labels, guidance), atol=0.03, rtol=0)
    if guidance == 0:
        assert torch.equal(z, prior.draw(noise, steps=100))
    if guidance == 1:
        torch.testing.assert_close(z, CLASS_MEANS[labels] + CLASS_STD * noise, atol=0.02, rtol=0)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 2.0])
def test_guidance_extrapolates_from_the_weak_network_where_there_is_one(guidance):
    """With one that answers as the velocity without a class does, it is what it was without a weak network."""
    noise, labels = normal(50, 2), torch.arange(50) % 2
    told = FlowPrior(ClassVelocity(), (2,), class_count=2)
    weak = FlowPrior(ClassVelocity(), (2,), class_count=2, weak=ClassVelocity())
    drawn = weak.draw(noise, labels, guidance=guidance)
    assert torch.equal(drawn, told.draw(noise, labels, guidance=guidance))


@pytest.mark.parametrize(("guidance", "calls", "weak_calls"), [(0.0, 0, 8), (1.0, 8, 0), (2.0, 8, 4)])
def test_the_weak_network_needs_no_class(guidance, calls, weak_calls):
    """The velocities are 1 and 0.5: between the times GUIDED it is 0.5 + guidance * 0.5, for 2 of 4 steps."""

    class Half(Recorder):
        def forward(self, x, t, labels=None):
            return super().forward(x, t, labels) + self.answer

    prior = FlowPrior(Half(), (1,), weak=Half())
    prior.velocity.answer, prior.weak.answer = 1.0, 0.5
    z = prior.draw(torch.zeros(3, 1), guidance=guidance, steps=4)
    assert (prior.velocity.calls, prior.weak.calls) == (calls, weak_calls)
    torch.testing.assert_close(z, torch.full((3, 1), {0.0: 0.5, 1.0: 1.0, 2.0: 1.25}[guidance]))


def test_the_weak_networks_loss_reaches_its_weights_alone():
    torch.manual_seed(0)
    prior = FlowPrior(build_velocity((5,), 3, 32, 2), (5,), 3, build_velocity((5,), 0, 8, 1))
    flow_loss(prior, normal(4, 5), None, velocity=prior.weak).mean().backward()
    assert all(p.grad is None for p in prior.velocity.parameters())
    assert prior.weak.to_velocity.weight.grad.abs().sum() > 0


def test_guidance_is_ignored_where_no_class_is_named():
    noise, prior = normal(20, 2), FlowPrior(ClassVelocity(), (2,), class_count=2)
    torch.testing.assert_close(prior.draw(noise, torch.full((20,), -1), guidance=2.0), prior.draw(noise))
    untold = FlowPrior(ClassVelocity(), (2,), class_count=0)
    assert torch.equal(untold.draw(noise, torch.zeros(20, dtype=torch.int64), guidance=2.0), untold.draw(noise))


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_each_class_and_none_are_learned(on_classes, label):
    """Without labels dropped, the velocity of "no class" would be left as it started."""
    labels = torch.full((2048,), label)

    def truth(x: Tensor, t: Tensor) -> Tensor:
        """Of standardised latents, by the velocity of z itself: x_t there is (1 - t) eps + t (mean + std z)."""
        means = (CLASS_MEANS - on_classes.mean) / on_classes.std
        covariance = (CLASS_STD / on_classes.std).square().diag()
        each = torch.stack([gaussian_velocity(x, t, mean, covariance) for mean in means], 1)
        if label >= 0:
            return each[:, label]
        variance = (1 - t[:, None]) ** 2 + t[:, None] ** 2 * covariance.diagonal()
        distances = ((x[:, None] - t[:, None, None] * means).square() / variance[:, None]).sum(2)
        return ((-0.5 * distances).softmax(1)[:, :, None] * each).sum(1)

    assert velocity_gap(on_classes, labels, truth) < 0.03


def test_drawn_classes_have_their_moments(on_classes):
    noise, labels = normal(2000, 2, seed=1), torch.arange(2000) % 2
    for z, label in ((on_classes.draw(noise, labels)[labels == c], c) for c in (0, 1)):
        torch.testing.assert_close(z.mean(0), CLASS_MEANS[label], atol=0.1, rtol=0)
        torch.testing.assert_close(z.std(0), torch.full((2,), CLASS_STD), atol=0.05, rtol=0)
    share = (on_classes.draw(noise, labels, guidance=0.0)[:, 0] > 0)[labels == 0].float().mean()
    assert share == pytest.approx(0.5, abs=0.1)  # guidance 0: the label is not heard
    guided = on_classes.draw(noise, labels, guidance=2.0)
    assert guided[labels == 1, 0].mean() > on_classes.draw(noise, labels)[labels == 1, 0].mean()


class Recorder(nn.Module):
    """A velocity of zero that notes what it is given, and how often."""

    calls = 0

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        self.x, self.t, self.labels = x, t, labels
        self.calls += 1
        return torch.zeros_like(x)


@pytest.mark.parametrize(("guidance", "calls"), [(0.0, 8), (1.0, 8), (2.0, 12)])
def test_the_network_is_asked_twice_only_where_guidance_needs_it(guidance, calls):
    prior = FlowPrior(Recorder(), (1,), class_count=2)
    prior.draw(normal(3, 1), torch.zeros(3, dtype=torch.int64), guidance=guidance, steps=4)
    assert prior.velocity.calls == calls  # of 8 times, 0, twice 0.25 and 1 are outside the interval


@pytest.mark.parametrize("drop", [0.0, 0.1, 1.0])
def test_the_share_of_labels_left_out(drop):
    prior, labels = FlowPrior(Recorder(), (1,), class_count=5), torch.arange(20_000) % 5
    torch.manual_seed(0)
    flow_loss(prior, normal(20_000, 1), labels, drop=drop)
    heard = prior.velocity.labels
    assert (heard < 0).float().mean() == pytest.approx(drop, abs=0.01)
    assert torch.equal(heard[heard >= 0], labels[heard >= 0])


def test_the_loss_goes_along_straight_paths_of_standardised_latents():
    prior = FlowPrior(Recorder(), (2, 1, 1))
    prior.mean.copy_(torch.tensor([1.0, 2.0])[:, None, None])
    prior.std.copy_(torch.tensor([2.0, 4.0])[:, None, None])
    z, eps = torch.tensor([3.0, 10.0]), torch.tensor([5.0, -2.0])  # z is (1, 2), standardised
    loss = flow_loss(prior, z.view(1, 2, 1, 1), None, eps.view(1, 2, 1, 1), torch.tensor([0.25]))
    torch.testing.assert_close(prior.velocity.x.flatten(), torch.tensor([0.75 * 5 + 0.25, -1.5 + 0.5]))
    torch.testing.assert_close(loss, torch.tensor([(4.0**2 + 4.0**2) / 2]))


def test_times_are_logit_normal():
    prior = FlowPrior(Recorder(), (1,))
    flow_loss(prior, normal(50_000, 1), None)
    logits = prior.velocity.t.logit()
    assert float(logits.mean()) == pytest.approx(0, abs=0.03) and float(logits.std()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5)])
def test_standardised_latents_have_mean_0_and_variance_1(shape):
    scale = torch.arange(1.0, 4).view(3, *(1 for _ in shape[1:]))
    mu, log_var = 5 + scale * normal(5000, *shape), normal(5000, *shape, seed=1) - 1
    mean, std = standardise(mu, log_var)
    prior = FlowPrior(Recorder(), shape)
    assert mean.shape == std.shape == prior.mean.shape == prior.std.shape
    z = (mu + log_var.mul(0.5).exp() * normal(5000, *shape, seed=2) - mean) / std
    channels = z.transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(3), atol=0.03, rtol=0)
    torch.testing.assert_close(channels.std(1), torch.ones(3), atol=0.03, rtol=0)


def waken(network: nn.Module) -> nn.Module:
    """Gives the layers that start at zero numbers, so that every part has a say."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network


SHAPES = [(5,), (4, 8, 8), (2, 6, 4), (1, 20, 30), (2, 17, 19)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_a_network(shape):
    torch.manual_seed(0)
    network = build_velocity(shape, 3, 32, 2, 0.1)
    x, t, labels = normal(4, *shape), torch.rand(4), torch.tensor([-1, 0, 2, -1])
    assert torch.equal(network(x, t, labels), torch.zeros(4, *shape))  # as it starts
    prior = FlowPrior(waken(network), shape, 3).eval()
    assert torch.equal(network(x, t, None)[[0, 3]], network(x, t, labels)[[0, 3]])
    assert not torch.allclose(network(x, t, None)[1], network(x, t, labels)[1])
    assert not torch.allclose(network(x, 1 - t, None), network(x, t, None))
    z = prior.draw(x, labels, steps=2, guidance=2.0)
    others = torch.cat([normal(3, *shape, seed=5), x[3:]])
    assert torch.equal(z[3], prior.draw(others, torch.tensor([1, 1, 1, -1]), steps=2, guidance=2.0)[3])
    laid_out = copy.deepcopy(prior).to(memory_format=torch.channels_last)
    torch.testing.assert_close(laid_out.draw(x, labels, steps=2, guidance=2.0), z)
    flow_loss(prior.train(), x, labels, drop=0.5).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in prior.parameters())


@pytest.mark.parametrize(("size", "patch"), [((8, 8), 1), ((16, 16), 1), ((16, 17), 2), ((32, 32), 2), ((64, 96), 6)])
def test_patches_make_at_most_256_tokens(size, patch):
    assert patch_size(*size) == patch


def test_every_position_can_reach_every_other():
    network = waken(build_velocity((2, 17, 20), 0, 32, 2)).eval()
    x = normal(1, 2, 17, 20).requires_grad_()
    network(x, torch.tensor([0.5]))[0, 1, 16, 19].backward()
    assert (x.grad != 0).all()


def test_a_block_without_attention_sees_the_neighbours_alone():
    network = waken(build_velocity((2, 6, 5), 0, 32, 1)).eval()
    nn.init.zeros_(network.blocks[0].attention.out.weight)
    x = normal(1, 2, 6, 5).requires_grad_()
    network(x, torch.tensor([0.5]))[0, :, 2, 3].sum().backward()
    expected = torch.zeros(6, 5)
    expected[1:4, 2:5] = 1
    assert torch.equal((x.grad[0].abs().sum(0) > 0).float(), expected)


@pytest.mark.parametrize("shape", [(5,), (4, 8, 6)])
def test_the_same_seed_gives_the_same_network_and_meta_only_describes_it(shape):
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(build_velocity(shape, 2, 32, 2).state_dict())
    assert all(torch.equal(networks[0][key], networks[1][key]) for key in networks[0])
    with torch.device("meta"):
        described = FlowPrior(build_velocity(shape, 2, 32, 2), shape, 2).state_dict()
    assert all(v.is_meta for v in described.values())
    fresh = FlowPrior(build_velocity(shape, 2, 32, 2), shape, 2).state_dict()
    assert {k: v.shape for k, v in described.items()} == {k: v.shape for k, v in fresh.items()}


@pytest.mark.parametrize("shape", [(5,), (4, 8, 6)])
def test_under_autocast_the_network_is_bfloat16_and_the_path_is_not(shape):
    prior = FlowPrior(waken(build_velocity(shape, 2, 64, 2)), shape, 2)
    x, labels = normal(8, *shape), torch.arange(8) % 3 - 1
    whole = prior.draw(x, labels, steps=4, guidance=2.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert prior.velocity(x, torch.rand(8), labels).dtype == torch.bfloat16
        loss = flow_loss(prior, x, labels)
        z = prior.draw(x, labels, steps=4, guidance=2.0)
    loss.mean().backward()
    assert loss.dtype == z.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in prior.parameters())
    torch.testing.assert_close(z, whole, atol=0.1, rtol=0.1)
    assert not torch.equal(z, z.bfloat16().float())
