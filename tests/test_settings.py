"""The settings themselves: types, ranges, and what must agree."""

import pytest

from vae_simpsons import settings
from vae_simpsons.configfile import from_flat
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Data, Model, Settings, accepts, keys, sections, to_flat


@pytest.mark.parametrize(("size", "near"), [(65, "64 or 96"), (20, "32"), (100, "96 or 128")])
def test_a_size_that_the_widths_do_not_divide_names_the_nearest_that_fit(size, near):
    with pytest.raises(VAEError, match=f"image_size: {size} is not divisible by 32 .*Give {near}, or fewer widths"):
        from_flat({"data.image_size": size})


def test_no_widths_are_refused():
    with pytest.raises(VAEError, match=r"model.widths: \[\] is empty"):
        from_flat({"model.widths": []})


def test_more_widths_than_halve_any_image_are_refused():
    with pytest.raises(VAEError, match="model.widths: 20000 stages, but 12 halve 4096 pixels to one. Give fewer."):
        from_flat({"model.widths": [1] * 20000})


def test_a_config_made_in_python_is_checked_too():
    with pytest.raises(VAEError, match="optimizer.lr: -1 is not accepted"):
        Settings(optimizer=settings.Optimizer(lr=-1))


def test_every_setting_says_what_it_means():
    assert all(f.metadata["meaning"] for f in settings.keys().values())
