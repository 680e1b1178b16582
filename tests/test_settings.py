"""The settings themselves: types, ranges, and what must agree."""

import re
import sys
from typing import Annotated

import pytest

from vae_simpsons import settings
from vae_simpsons.configfile import from_flat
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Data, Settings, keys, sections, to_flat


@pytest.mark.parametrize(("size", "near"), [(65, "64 or 96"), (20, "32"), (100, "96 or 128")])
def test_a_size_that_the_widths_do_not_divide_names_the_nearest_that_fit(size, near):
    with pytest.raises(VAEError, match=f"image_size: {size} is not divisible by 32 .*Give {near}, or fewer widths"):
        from_flat({"data.image_size": size})


@pytest.mark.parametrize(("size", "side"), [((65, 64), "height 65"), ((64, 65), "width 65"), ((65, 65), "height 65")])
def test_of_two_sides_the_one_that_the_widths_do_not_divide_is_named(size, side):
    with pytest.raises(VAEError, match=f"image_size: {side} is not divisible by 32 .*Give 64 or 96, or fewer widths"):
        from_flat({"data.image_size": size})
    with pytest.raises(VAEError, match=rf"image_size: {side} is not divisible by 8 \(model.factor\). Give 64 or 72"):
        from_flat({"data.image_size": size, "model.latent": "spatial"})


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
    assert all(f.meaning for f in settings.keys().values())


def test_sections_may_hold_sections(monkeypatch):
    """Dotted names, defaults and checks at any depth."""
    from dataclasses import dataclass

    from vae_simpsons.configfile import from_flat, parse_yaml, to_yaml

    @dataclass(frozen=True)
    class Flow:
        """The flow."""

        steps: Annotated[int, settings.Range(1)] = settings.setting(50, "steps of the solver")

    @dataclass(frozen=True)
    class Extra:
        """The extra section."""

        kind: settings.Text = settings.setting("flow", "what it is")
        flow: Flow = Flow()

    @dataclass(frozen=True)
    class Nested(Settings):
        """Settings with a section of sections."""

        extra: Extra = Extra()

    for module in (settings, sys.modules["vae_simpsons.configfile"]):
        monkeypatch.setattr(module, "Settings", Nested)
    for cached in (keys, sections):
        cached.cache_clear()
    try:
        assert list(sections())[-2:] == ["extra", "extra.flow"] and "extra.flow.steps" in keys()
        nested = from_flat(parse_yaml("extra: {flow: {steps: 3}}", "f"))
        assert nested.extra == Extra(flow=Flow(3)) and to_flat(nested)["extra.flow.steps"] == 3
        assert from_flat(parse_yaml(to_yaml(nested), "again")) == nested
        with pytest.raises(VAEError, match="extra.flow.steps: 0 is not accepted. Give a whole number >= 1."):
            from_flat({"extra.flow.steps": 0})
        with pytest.raises(VAEError, match="extra.flow: 3 is not a mapping"):
            parse_yaml("extra: {flow: 3}", "f")
    finally:
        for cached in (keys, sections):
            cached.cache_clear()


@pytest.mark.parametrize(
    ("key", "accepted", "refused"),
    [
        ("optimizer.lr", [1e-3, 1], [0, True, None, float("inf"), float("nan"), 10**400]),
        ("seed", [0, 2**32 - 1], [1.0, True, "1.0", 2**32, b"1"]),
        ("data.channels", [1, 3], [True, 1.0, "2", 2]),
        ("data.resize", [None, 64], [0, "0", 64.0]),
        ("data.image_size", [64, [64, 96]], [0, [0, 64], [64, 0], [64.0, 64], [[64], 64], [64, True], None, 4097]),
        ("trainer.devices", ["auto", 2], ["all", 0, True]),
        ("model.widths", [[8, 16], (8,)], [8, "8", [8.0], [True], [0], [[8]], {8, 16}]),
        ("model.variational", [True, False], [1, "1", None]),
        ("data.path", ["a", "3"], ["", " ", "a\0", 3, None]),
        ("out", ["a", None], ["", 3]),
    ],
)
def test_a_value_has_the_type_and_range_of_its_setting(key, accepted, refused):
    for value in accepted:
        assert keys()[key].convert(value) == (tuple(value) if isinstance(value, list) else value)
    for value in refused:
        with pytest.raises(VAEError, match=f"^{key}: .* is not accepted. Give "):
            keys()[key].convert(value)
    assert isinstance(keys()["optimizer.lr"].convert(1), float)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("optimizer.lr", "0.1"), ("seed", "1"), ("data.channels", "3"), ("data.resize", "64"), ("data.path", b"a")],
        *[("model.variational", "true"), ("model.widths", "[8, 16]"), ("model.widths", (8.0, 16)), ("out", "null")],
    ],
)
def test_a_config_made_in_python_needs_the_very_type(key, value):
    """Text stands for a number in YAML and flags alone."""
    section, _, name = key.rpartition(".")
    with pytest.raises(VAEError, match=f"^{key}: .* is not accepted. Give "):
        Settings(**({section: sections()[section](**{name: value})} if section else {name: value}))


def test_what_a_setting_accepts_is_said_in_words():
    assert keys()["seed"].accepts() == "a whole number >= 0 and <= 4294967295"
    assert keys()["data.split"].accepts() == "sorted, shuffled or grouped"
    assert keys()["trainer.devices"].accepts() == "a whole number >= 1 and <= 1024 or auto"
    assert keys()["trainer.gradient_clip_val"].accepts() == "a number > 0 or null"
    assert keys()["model.variational"].accepts() == "true or false"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (Data(resize=72, crop="none"), "data.resize: 72 has no effect with data.crop none"),
        *[
            (
                Data(image_size=size),
                rf"image_size: {re.escape(str(list(size)))} is not accepted. Give one number, or two",
            )
            for size in ((), (64,), (64, 64, 64))
        ],
        (Data(resize=48, image_size=(96, 64)), "data.resize: 48 is less than data.image_size 64, which is cropped"),
        (Data(resize=32), "data.resize: 32 is less than data.image_size 64, which is cropped from it. Give 64 or more"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(data, error):
    with pytest.raises(VAEError, match=error):
        Settings(data=data)


def test_a_long_value_is_cut_in_the_error():
    with pytest.raises(VAEError) as caught:
        keys()["seed"].convert("x" * 10_000)
    assert len(str(caught.value)) < 200
