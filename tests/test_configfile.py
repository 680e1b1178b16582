"""Settings from YAML and from flags."""

import time

import pytest

from conftest import CONFIGS, ROOT
from vae_simpsons.configfile import from_flat, nearest, parse_yaml, read_yaml, to_yaml
from vae_simpsons.errors import VAEError
from vae_simpsons.models import build_autoencoder
from vae_simpsons.settings import Settings, keys, to_flat


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_config_parses_instantiates_and_round_trips(path):
    loaded = from_flat(read_yaml(path))
    assert from_flat(parse_yaml(to_yaml(loaded), "again")) == loaded
    data = loaded.data
    assert build_autoencoder(loaded).image_shape == (data.channels, data.image_size, data.image_size)


def test_the_four_configs_that_the_readme_names_are_there():
    assert {p.stem for p in CONFIGS} >= {"simpsons", "published", "toons", "autoencoder"}


def test_published_is_the_recipe_to_the_letter():
    flat = to_flat(from_flat(read_yaml(ROOT / "configs" / "published.yaml")))
    recipe = {
        "seed": 1265,
        "data.image_size": 64,
        "data.train_fraction": 0.75,
        "data.split": "sorted",
        "data.batch_size": 64,
        "model.latent_dim": 128,
        "model.widths": (32, 64, 128, 256, 512),
        "model.variational": True,
        "objective.beta": 1.0,
        "objective.kld_weight": 0.00025,
        "optimizer.lr": 0.005,
        "optimizer.weight_decay": 0.0,
        "optimizer.lr_decay": 0.95,
        "trainer.max_epochs": 100,
    }
    assert {key: flat[key] for key in recipe} == recipe


def test_simpsons_differs_from_published_in_the_split_alone_and_says_why():
    paths = (ROOT / "configs" / f"{name}.yaml" for name in ("simpsons", "published"))
    simpsons, published = (to_flat(from_flat(read_yaml(path))) for path in paths)
    assert {k for k in simpsons if simpsons[k] != published[k]} == {"data.split"}
    text = (ROOT / "configs" / "simpsons.yaml").read_text()
    assert "whole characters" in text


def test_numbers_in_scientific_notation_are_numbers():
    assert from_flat(parse_yaml("optimizer: {lr: 3e-4}", "f")).optimizer.lr == 0.0003


def test_an_empty_section_means_its_defaults():
    assert from_flat(parse_yaml("seed: 3\ndata:\n", "f")) == Settings(seed=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("[1, 2]", "not a mapping but a list"),
        ("just words", "not a mapping but a str"),
        ("a: [", "not valid YAML"),
        ("data: 3", "data: 3 is not a mapping"),
        ("data: {pth: x}", "data.pth: no such setting. Did you mean data.path?"),
        ("modle: {latent_dim: 3}", "modle.latent_dim: no such setting. Did you mean model.latent_dim?"),
        ("latent_dim: 3", "Did you mean model.latent_dim?"),
        ("zzz: 3", "zzz: no such setting. 'vae train --help' lists every setting."),
        ("data: {image_size: big}", "data.image_size: 'big' is not accepted. Give a whole number >= 1"),
        ("data: {image_size: 64.5}", "data.image_size: 64.5 is not accepted"),
        ("data: {path: 3}", "data.path: 3 is not accepted. Give text, not empty (in quotes"),
        ("data: {channels: 2}", "data.channels: 2 is not accepted. Give 1 or 3."),
        ("data: {split: sort}", "data.split: 'sort' is not accepted. Give sorted, shuffled or grouped."),
        ("data: {horizontal_flip: maybe}", "Give true or false."),
        ("data: {batch_size: 1}", "data.batch_size: 1 is not accepted. Give a whole number >= 2 and <= 1000000."),
        ("data: {train_fraction: 0}", "data.train_fraction: 0 is not accepted. Give a number > 0 and <= 1."),
        ("seed: null", "seed: null is not accepted"),
        ("seed: -1", "seed: -1 is not accepted. Give a whole number >= 0 and <= 4294967295."),
        ("seed: true", "seed: True is not accepted"),
        ("optimizer: {lr: -0.1}", "optimizer.lr: -0.1 is not accepted. Give a number > 0."),
        ("optimizer: {lr: .nan}", "optimizer.lr: nan is not accepted"),
        ("optimizer: {lr: .inf}", "optimizer.lr: inf is not accepted"),
        ("objective: {beta: .nan}", "objective.beta: nan is not accepted"),
        ("objective: {kld_weight: -1}", "objective.kld_weight: -1 is not accepted"),
        ("model: {widths: 32}", "Give a list of whole numbers >= 1 and <= 65536, written [32, 64]."),
        ("model: {widths: [32, -1]}", "model.widths: [32, -1] is not accepted"),
        ("data: {path: a}\ndata: {path: b}", "not valid YAML: 'data' is duplicated"),
        ("data: {path: a, path: b}", "not valid YAML: 'path' is duplicated"),
        ("? [a]\n: b", "not valid YAML"),
        ("data: {path: ''}", "data.path: '' is not accepted. Give text, not empty"),
        ('out: "a\\0b"', "is not accepted"),
        ("trainer: {devices: 0}", "trainer.devices: 0 is not accepted. Give a whole number >= 1 and <= 1024 or auto."),
        (f"seed: 1{'0' * 400}", "not valid YAML: a number of 401 characters"),
        (f"seed: 0x{'f' * 5000}", "not valid YAML: a number of 5002 characters"),
        ("seed: 1" + ":1" * 9000, "not valid YAML: a number of 18001 characters"),
        (f"seed: '{'[' * 5000}'", "is not accepted"),
        (f"seed: {'[' * 5000}", "not valid YAML"),
        (f"a: {'{a: ' * 200}{'}' * 200}", "a.a.a.a"),
        ("seed: !!int ''", "not valid YAML"),
        ("seed: !!bool x", "not valid YAML"),
        ("data: &d {path: x}\nmodel: *d", "not valid YAML: a reference, *d"),
        ('data: {path: "\\ud800"}', "is not accepted. Give text"),
        ("out: " + "x" * 2**16, "longer than 65,536 characters"),
        ("trainer: {precision: 8}", "Give auto, 32-true, tf32, bf16-mixed or 16-mixed."),
    ],
)
def test_bad_yaml_is_refused_in_one_line_that_names_it(text, said):
    with pytest.raises(VAEError) as caught:
        parse_yaml(text, "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ") and said in message and "\n" not in message


def test_yaml_cannot_construct_objects():
    with pytest.raises(VAEError, match="not valid YAML"):
        parse_yaml("seed: !!python/object/apply:os.getcwd []", "f")


def laughs(levels: int) -> str:
    """Nine of nine of nine ... in a few hundred characters: 9^levels values for who follows the references."""
    lines = ["&a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"&a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return f"[{', '.join(lines)}]"


@pytest.mark.parametrize("key", ["seed", "out", "model.widths", "data.split"])
def test_a_billion_laughs_are_refused_at_once(key):
    section, _, name = key.rpartition(".")
    for value in (laughs(12), f'"{laughs(12)}"', f'["{laughs(12)}"]'):
        text = f"{section}: {{{name}: {value}}}" if section else f"{name}: {value}"
        began = time.monotonic()
        if (key, value[0]) == ("out", '"'):  # text, which stays as it is
            assert from_flat(parse_yaml(text, "f")).out == laughs(12)
        else:
            with pytest.raises(VAEError, match="a reference, |not accepted"):
                parse_yaml(text, "f")
        assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("optimizer.lr", "3e-4", 0.0003),
        ("optimizer.lr", "1", 1.0),
        ("data.image_size", "32", 32),
        ("data.horizontal_flip", "true", True),
        ("data.resize", "null", None),
        ("model.widths", "[32, 64]", (32, 64)),
        ("trainer.devices", "auto", "auto"),
        ("trainer.devices", "2", 2),
        ("trainer.gradient_clip_val", "1e-2", 0.01),
        ("data.path", "3", "3"),
        ("data.path", "{a: b}", "{a: b}"),
    ],
)
def test_text_from_a_flag_is_read_as_yaml_where_the_setting_takes_no_text(key, text, value):
    assert to_flat(from_flat({key: text}))[key] == value


def test_names_of_settings_that_are_close_are_found():
    assert nearest("latent_dim", keys()) == "model.latent_dim"
    assert nearest("data.pth", keys()) == "data.path"
    assert nearest("zzz", keys()) is None


@pytest.mark.parametrize(
    "text", ["data.path: a\ndata: {path: b}", "data: {path: b}\ndata.path: b", "{data: {path: a}, data.path: null}"]
)
def test_a_setting_by_two_names_is_refused(text):
    with pytest.raises(VAEError, match="text: data.path: given twice. Give it once"):
        parse_yaml(text, "text")


@pytest.mark.parametrize("number", ["010", "08", "1:30", "0x10", "0b11", "0_7", "-010"])
@pytest.mark.parametrize("key", ["seed", "objective.beta", "data.resize", "prior.components"])
def test_a_number_that_programs_read_differently_is_refused_in_yaml_and_as_a_flag(key, number):
    with pytest.raises(VAEError):
        from_flat({key: number})
    with pytest.raises(VAEError):
        parse_yaml(f"{key}: {number}", "text")


@pytest.mark.parametrize("text", ["100", "1_0", "0", "+5", "20"])
def test_a_whole_number_is_the_same_in_yaml_and_as_a_flag(text):
    assert from_flat({"seed": text}).seed == parse_yaml(f"seed: {text}", "text")["seed"] == int(text)


@pytest.mark.parametrize("text", ["null", "Null", "NULL"])
def test_null_is_no_folder_and_none_is_refused(text):
    assert from_flat({"out": text}).out is None and parse_yaml(f"out: {text}", "text") == {"out": None}
    for key, none in (("out", "None"), ("data.cache_dir", "none")):
        with pytest.raises(VAEError, match=f"{key}: {none} is not accepted. Give null for none, or ./{none}"):
            parse_yaml(f"{key}: {none}", "text")
