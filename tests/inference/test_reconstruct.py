import math

import pytest
import torch

from conftest import build_network
from vae_simpsons import objective
from vae_simpsons.data.pictures import Part, Pictures
from vae_simpsons.evaluation.pixels import ssim
from vae_simpsons.images import denormalise, normalise
from vae_simpsons.inference import reconstruct
from vae_simpsons.progress import no_progress

SIGMA = 0.7


def pictures(count: int, size: int = 32, channels: int = 3) -> tuple[torch.Tensor, Pictures]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    return pixels, Pictures([Part([str(i) for i in range(count)], lambda i: pixels[i])])


def scored(network, source):
    return reconstruct.score_pictures(network, source, SIGMA, no_progress)


def test_figures_are_those_of_their_definitions():
    network = build_network().eval()
    pixels, source = pictures(20)
    x = normalise(pixels)
    with torch.no_grad():
        mu, log_var = network.encode(x)
        recon = network.decode(mu)
        eps = torch.randn(8, generator=torch.Generator().manual_seed(0))
        drawn = network.decode(mu + eps * torch.exp(0.5 * log_var))
    found = scored(network, source).figures
    mse = (recon - x).square().flatten(1).mean(1).double()
    torch.testing.assert_close(found["mse"], mse, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["psnr"], 10 * torch.log10(4 / mse), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["ssim"], ssim(recon, x), rtol=1e-3, atol=1e-5)
    values, variance = 3 * 32 * 32, SIGMA**2
    nll = values / 2 * (math.log(2 * math.pi * variance) + (drawn - x).square().flatten(1).mean(1).double() / variance)
    expected = -nll - objective.kl_divergence(mu.double(), log_var.double())
    torch.testing.assert_close(found["elbo"], expected, rtol=1e-4, atol=1e-2)


def test_a_picture_has_the_same_figures_in_any_company_and_place():
    network = build_network().eval()
    pixels, many = pictures(300)  # two blocks
    few = Pictures([Part(["a", "b"], lambda i: pixels[[270, 3][i]])])
    for name, values in scored(network, few).figures.items():  # two threads share a block's rows as they come
        torch.testing.assert_close(values, scored(network, many).figures[name][[270, 3]], rtol=1e-5, atol=1e-5)


def test_the_worst_come_first_and_an_autoencoder_has_no_elbo():
    network = build_network(size=8, widths=(4,), variational=False).eval()
    scores = scored(network, pictures(9, size=8)[1])
    assert set(scores.figures) == {"mse", "psnr"}, "8 pixels are too few for SSIM's window"
    mse = scores.figures["mse"]
    assert mse[scores.worst_first()].tolist() == sorted(mse.tolist(), reverse=True)


def test_the_scale_is_the_error_that_all_but_a_hundredth_of_the_pixels_have():
    network = build_network().eval()
    pixels, source = pictures(30)
    x = normalise(pixels)
    errors = reconstruct.pixel_errors(reconstruct.reconstruct(network, x), x)
    assert scored(network, source).error_scale == pytest.approx(float(errors.flatten().quantile(0.99)), rel=0.01)


def test_colours_are_brighter_the_larger_the_error_and_end_at_the_scale():
    colours = reconstruct.colour_map(torch.linspace(0, 1.5, 31)[None, None])[0, :, 0].double()  # (3, 31)
    brightness = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64) @ colours
    assert colours[:, 0].tolist() == [0, 0, 0] and colours[:, -1].tolist() == [252, 255, 164]
    assert (brightness[1:21] > brightness[:20]).all() and (colours[:, 20:] == colours[:, 20:21]).all()
    assert colours[:, 5].tolist() == [80, 18, 123]


@pytest.mark.parametrize("columns", [3, 8])
def test_originals_stand_above_their_reconstructions_and_their_errors(columns):
    network = build_network().eval()
    pixels, source = pictures(5)
    recon = reconstruct.reconstruct(network, normalise(pixels))
    numbers = [4, 0, 2, 1]
    rows = torch.cat(list(reconstruct.compare_rows(network, source, numbers, columns)))
    heat = torch.cat(list(reconstruct.heat_rows(network, source, numbers, columns, 0.5)))
    for place, number in enumerate(numbers):
        top = 2 * columns * (place // columns) + place % columns
        assert torch.equal(rows[top], pixels[number]) and torch.equal(heat[top], pixels[number])
        assert torch.equal(rows[top + columns], denormalise(recon[number]))
        errors = reconstruct.pixel_errors(recon[number][None], normalise(pixels[number])[None])
        assert torch.equal(heat[top + columns], reconstruct.colour_map(errors / 0.5)[0])


def test_grey_pictures_have_coloured_errors():
    network = build_network(channels=1).eval()
    _, source = pictures(2, channels=1)
    (heat,) = reconstruct.heat_rows(network, source, [0, 1], 2, 0.5)
    assert heat.shape == (4, 3, 32, 32)


def test_ten_thousand_pictures_are_never_in_memory_together(monkeypatch):
    network = build_network(size=32, widths=(4,), latent_dim=2).eval()
    monkeypatch.setattr(reconstruct, "block_size", lambda network: 4)
    monkeypatch.setattr(reconstruct, "decode", lambda network, z: torch.zeros(len(z), 3, 32, 32))
    monkeypatch.setattr(reconstruct, "encode", lambda network, x: (torch.zeros(len(x), 2), None))
    monkeypatch.setattr(reconstruct, "ssim", lambda recon, x: torch.zeros(len(x)))
    pixels, read, done = torch.zeros(3, 32, 32, dtype=torch.uint8), [], []

    def watched(number):
        read.append(number - (done[-1] if done else 0))
        return pixels

    source = Pictures([Part([""] * 1000, watched)])
    reconstruct.score_pictures(network, source, SIGMA, lambda title, total: done.append)
    assert done[-1] == 1000 and max(read) <= 4 * (2 * torch.get_num_threads() + 4)
