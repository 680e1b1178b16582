import pytest
import torch
from torch import nn

from conftest import build_network
from vae_simpsons.models import Autoencoder
from vae_simpsons.models.autoencoder import LOG_VAR_RANGE, reparameterize
from vae_simpsons.models.spatial import SpatialEncoder

WIDTHS = (32, 64, 128, 256, 512)


def described(network: nn.Module) -> list[tuple]:
    """Its layers, in order, as (kind, sizes)."""
    layers = []
    for m in network.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            settings = (m.kernel_size[0], m.stride[0], m.padding[0], *getattr(m, "output_padding", ())[:1])
            kind = "Conv2d" if isinstance(m, nn.Conv2d) else "ConvTranspose2d"
            layers.append((kind, m.in_channels, m.out_channels, settings))
        elif isinstance(m, nn.Linear):
            layers.append(("Linear", m.in_features, m.out_features))
        elif isinstance(m, nn.BatchNorm2d):
            layers.append(("BatchNorm2d", m.num_features))
        elif isinstance(m, nn.LeakyReLU):
            layers.append(("LeakyReLU", m.negative_slope))
        elif isinstance(m, nn.Tanh):
            layers.append(("Tanh",))
    return layers


def published_layers() -> list[tuple]:
    """The recipe, written out."""
    layers = []
    for a, b in [(3, 32), (32, 64), (64, 128), (128, 256), (256, 512)]:
        layers += [("Conv2d", a, b, (3, 2, 1, 0)), ("BatchNorm2d", b), ("LeakyReLU", 0.01)]
    layers += [("Linear", 2048, 128), ("Linear", 2048, 128), ("Linear", 128, 2048)]
    for a, b in [(512, 256), (256, 128), (128, 64), (64, 32), (32, 32)]:
        layers += [("ConvTranspose2d", a, b, (3, 2, 1, 1)), ("BatchNorm2d", b), ("LeakyReLU", 0.01)]
    return [*layers, ("Conv2d", 32, 3, (3, 1, 1, 0)), ("Tanh",)]


def test_the_published_architecture_layer_by_layer():
    assert described(build_network(64, WIDTHS, 128)) == published_layers()


def test_the_published_parameter_count():
    assert build_network(64, WIDTHS, 128).parameter_count() == 3_937_635


def test_the_autoencoder_is_the_same_without_the_log_var_head():
    autoencoder = described(build_network(64, WIDTHS, 128, variational=False))
    layers = published_layers()
    layers.remove(("Linear", 2048, 128))
    assert autoencoder == layers


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "widths"), [(32, (4, 8)), (48, [4] * 4), (64, (4, 8, 8)), (96, [4] * 5), (128, [4] * 6), (256, [4] * 7)]
)
@pytest.mark.parametrize("latent_dim", [1, 5])
def test_every_shape_follows_from_the_settings(channels, size, widths, latent_dim):
    network = build_network(size, widths, latent_dim, channels)
    recon, mu, log_var = network(torch.rand(2, channels, size, size) * 2 - 1)
    assert recon.shape == (2, channels, size, size)
    assert mu.shape == log_var.shape == (2, latent_dim)
    assert recon.abs().max() <= 1


class MapEncoder(nn.Module):
    """An encoder whose latent is a map (1, H / 2, W / 2)."""

    def forward(self, x):
        mu = nn.functional.avg_pool2d(x, 2).mean(1, keepdim=True)
        return mu, torch.zeros_like(mu)


def test_a_latent_may_be_a_map():
    decoder = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 3, 1), nn.Tanh())
    network = Autoencoder(MapEncoder(), decoder, image_shape=(3, 8, 12), latent_shape=(1, 4, 6))
    recon, mu, log_var = network(torch.rand(2, 3, 8, 12))
    assert recon.shape == (2, 3, 8, 12) and mu.shape == log_var.shape == (2, 1, 4, 6)


def test_reparameterize_is_mu_plus_eps_times_the_standard_deviation():
    mu, log_var = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2 * torch.tensor(3.0).log()]])
    eps = torch.randn(1, 2, generator=torch.Generator().manual_seed(4))
    z = reparameterize(mu, log_var, torch.Generator().manual_seed(4))
    torch.testing.assert_close(z, mu + eps * torch.tensor([[1.0, 3.0]]))


def test_z_has_the_posteriors_mean_and_deviation():
    z = reparameterize(torch.full((100_000, 1), 2.0), torch.full((100_000, 1), -1.0), torch.Generator().manual_seed(0))
    assert float(z.mean()) == pytest.approx(2, abs=0.01)
    assert float(z.std()) == pytest.approx(0.6065, abs=0.01)


def test_an_autoencoders_z_is_mu():
    network = build_network(32, (4, 8), 4, variational=False).eval()
    x = torch.rand(2, 3, 32, 32)
    recon, mu, log_var = network(x)
    assert log_var is None
    torch.testing.assert_close(recon, network.decode(mu))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_log_var_stays_where_exp_cannot_overflow(dtype):
    network = build_network(32, (4, 8), 4).eval()
    nn.init.constant_(network.encoder.log_var.bias, 1e30)
    _, log_var = network.encode(torch.zeros(1, 3, 32, 32))
    assert (log_var == LOG_VAR_RANGE[1]).all()
    assert log_var.to(dtype).exp().isfinite().all()
    nn.init.constant_(network.encoder.log_var.bias, -1e30)
    _, log_var = network.encode(torch.zeros(1, 3, 32, 32))
    assert ((0.5 * log_var).to(dtype).exp() > 0).all()


def test_no_posterior_of_a_map_is_wider_than_the_prior():
    torch.manual_seed(0)
    encoder = SpatialEncoder(channels=3, factor=4, width=16, blocks=1, latent_channels=2)
    _, log_var = encoder(1e4 * torch.randn(4, 3, 16, 16))  # like no image that it was trained on
    assert log_var.max() <= 0
    assert log_var.min() < -100  # as narrow as it likes


def test_one_batch_of_eight_is_learnt_by_heart():
    from vae_simpsons.objective import kl_divergence, mean_squared_error

    torch.manual_seed(0)
    coarse = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
    x = nn.functional.interpolate(coarse, size=32, mode="bilinear")
    network = build_network(32, (16, 32, 32), 16)
    adam = torch.optim.Adam(network.parameters(), lr=0.005)
    errors = []
    for _ in range(250):
        recon, mu, log_var = network(x)
        mse = mean_squared_error(recon, x)
        loss = mse + 1e-5 * kl_divergence(mu, log_var).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        errors.append(float(mse.detach()))
    assert errors[-1] < 0.02 < 0.1 < errors[0]
