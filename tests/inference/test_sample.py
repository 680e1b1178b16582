import pytest
import torch

from conftest import build_network
from vae_simpsons.errors import VAEError
from vae_simpsons.inference import latents, sample
from vae_simpsons.inference.blocks import block_size
from vae_simpsons.models import Autoencoder


@pytest.fixture(scope="module")
def network() -> Autoencoder:
    return build_network(64, (8, 16, 16), 8).eval()


def drawn(network, count, seed=0) -> torch.Tensor:
    return torch.cat(list(sample.sample(network, count, seed)))


def test_a_seed_gives_the_same_pixels_however_many_are_asked_for(network):
    many = drawn(network, 150)
    assert many.shape == (150, 3, 64, 64)
    for few in (1, 2, 63, 64, 65, 129):
        assert torch.equal(drawn(network, few), many[:few])


def test_another_seed_gives_other_pixels(network):
    assert not torch.equal(drawn(network, 4), drawn(network, 4, seed=1))


def test_samples_differ_from_each_other_across_blocks(network):
    many = drawn(network, 130).flatten(1)
    assert len(torch.unique(many, dim=0)) == 130


def test_sampling_leaves_torchs_own_generator_alone(network):
    before = torch.get_rng_state()
    drawn(network, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_latents_are_standard_normal():
    z = torch.cat(list(sample.prior_noise((8,), 20_000, seed=0, block=64)))
    assert abs(float(z.mean())) < 0.01 and abs(float(z.std()) - 1) < 0.01


def test_a_hundred_thousand_are_drawn_a_block_at_a_time(network):
    blocks = sample.sample(network, 100_000, seed=0)
    assert next(blocks).shape == (64, 3, 64, 64)


@pytest.mark.parametrize(("size", "block"), [(32, 256), (64, 64), (256, 4), (512, 1)])
def test_larger_images_are_decoded_fewer_at_a_time(size, block):
    assert block_size(build_network(size, (4,), 1)) == block


def test_an_image_is_decoded_alike_in_whatever_company(network):
    z = torch.randn(70, 8)
    together = latents.decode(network, z)
    assert torch.equal(latents.decode(network, z[:5]), together[:5])


def test_samples_are_a_plain_decode_of_the_seeds_latents(network):
    generator = torch.Generator().manual_seed(3)
    for images in drawn(network, 200, seed=3).split(64):
        with torch.no_grad():
            plain = network.decode(torch.randn(64, 8, generator=generator))
        assert torch.equal(images, plain[: len(images)])


def test_encoding_in_blocks_says_what_the_network_says(network):
    x = torch.rand(70, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        expected = network.encode(x)
    for found, figures in zip(latents.encode(network, x), expected, strict=True):
        torch.testing.assert_close(found, figures, rtol=1e-4, atol=1e-5)


def test_encoding_never_holds_more_than_a_block(network, monkeypatch):
    encode, sizes = network.encode, []
    monkeypatch.setattr(network, "encode", lambda x: sizes.append(len(x)) or encode(x))
    latents.encode(network, torch.zeros(130, 3, 64, 64))
    assert sizes == [64, 64, 64]


def test_reconstruct_goes_through_the_posteriors_mean(network):
    x = torch.rand(70, 3, 64, 64) * 2 - 1
    recon = latents.reconstruct(network, x)
    with torch.no_grad():
        torch.testing.assert_close(recon, network.decode(network.encode(x)[0]), rtol=1e-4, atol=1e-5)
    assert torch.equal(recon, latents.reconstruct(network, x))


def test_an_autoencoder_has_no_prior_to_sample_from():
    with pytest.raises(VAEError, match="no prior to sample from"):
        sample.sample(build_network(32, (4,), 4, variational=False).eval(), 1, 0)
