"""The commands as users type them, right and wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from conftest import CONFIGS, TINY, every_verb, flags
from vae_simpsons.cli import VERBS, main
from vae_simpsons.configfile import from_flat, parse_yaml
from vae_simpsons.settings import Settings, keys, sections


def vae(*arguments: str, **settings) -> subprocess.CompletedProcess:
    """Run the installed command in a process of its own."""
    command = [sys.executable, "-m", "vae_simpsons", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, **settings)


def refused(capfd, *arguments: str, status: int = 1) -> str:
    """Returns the one line that a refused command prints; no file may be left behind."""
    before = sorted(Path.cwd().rglob("*"))
    assert main(list(arguments)) == status
    out, err = capfd.readouterr()
    assert sorted(Path.cwd().rglob("*")) == before, "something was left behind"
    assert err.startswith("vae: ") and err.count("\n") == 1 and "Traceback" not in err
    assert out == "" or out.startswith("    device") or "epoch" not in out
    return err


def config_file(text: str) -> str:
    Path("my.yaml").write_text(text)
    return "my.yaml"


def help_of(capsys, monkeypatch, *arguments: str, columns: int = 80) -> str:
    """What a help flag prints in a terminal of so many columns."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    assert exit.value.code == 0
    return capsys.readouterr().out


VERB_NAMES = [[], ["data"], *every_verb()]


@pytest.mark.parametrize("words", VERB_NAMES, ids=lambda words: " ".join(words) or "vae")
@pytest.mark.parametrize("columns", [80, 120])
def test_short_help_fits_a_screen(capsys, monkeypatch, words, columns):
    lines = help_of(capsys, monkeypatch, *words, "-h", columns=columns).splitlines()
    assert len(lines) <= 35 and max(map(len, lines)) <= max(80, columns - 2)
    assert lines[0].startswith("usage: " + " ".join(["vae", *words]))


@pytest.mark.parametrize("words", [["train"], ["data", "check"]], ids=" ".join)
def test_short_help_names_every_setting_and_says_where_they_are_explained(capsys, monkeypatch, words):
    page = help_of(capsys, monkeypatch, *words, "-h")
    assert len(page.splitlines()) <= 31
    names = set(re.findall(r"\w+", page[page.index("settings, in") :]))
    assert names >= {part for key in keys() for part in key.split(".")}
    assert page.endswith(f"'vae {' '.join(words)} --help' explains each of them.\n")


@pytest.mark.parametrize("words", [["train"], ["data", "check"]], ids=" ".join)
def test_full_help_explains_every_setting_in_its_section_once(capsys, monkeypatch, words):
    page = help_of(capsys, monkeypatch, *words, "--help", columns=200)
    assert len(page.splitlines()) <= 160 and max(map(len, page.splitlines())) <= 110
    titles = [f"\n{section}:\n" for section in ["run", *filter(None, sections())]]
    assert [page.count(title) for title in titles] == [1] * len(titles)
    assert sorted(titles, key=page.index) == titles
    for key, field in keys().items():
        (entry,) = re.findall(rf"^  --{re.escape(key)} (.*?)(?=^  --|^\w|\Z)", page, re.MULTILINE | re.DOTALL)
        words_of_entry = " ".join(entry.split())
        assert " ".join(field.meaning.split()) in words_of_entry
        assert words_of_entry.count("default ") == 1
        default = yaml.safe_load(re.findall(r"default (.*)\)$", words_of_entry)[0])
        assert (tuple(default) if isinstance(default, list) else default) == field.default
    assert "(type" not in page and "Literal" not in page and "whole number" not in page


@pytest.mark.parametrize("words", VERB_NAMES, ids=lambda words: " ".join(words) or "vae")
def test_every_metavar_says_what_is_wanted(capsys, monkeypatch, words):
    page = help_of(capsys, monkeypatch, *words, "--help", columns=200)
    allowed = r"INT|NUMBER|BOOL|PATH|TEXT|(INT\|)?\[INT,INT,\.\.\.\]|INT\|auto|last\|PATH|NAME,\.\.\.|\{[\w,-]+\}"
    allowed += r"|NUMBER\|optimal\|learned"
    for flag, metavar in re.findall(r"^  (-[\w.-]+) (\S+)", page, re.MULTILINE):
        assert re.fullmatch(allowed, metavar), (flag, metavar)


def test_help_names_every_verb(capsys, monkeypatch):
    page = help_of(capsys, monkeypatch, "--help")
    assert all(f"\n    {verb} " in page for verb in VERBS)


@pytest.mark.parametrize("words", VERB_NAMES, ids=lambda words: " ".join(words) or "vae")
def test_help_does_not_import_torch(words):
    code = (
        "import sys; from vae_simpsons.cli import main\n"
        f"try: main({[*words, '--help']})\n"
        "except SystemExit: sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("vae-simpsons ")


def test_train_then_sample_as_the_readme_says_in_processes_of_their_own(pictures):
    trained = vae("train", *flags(TINY), "--data.path", str(pictures))
    assert trained.returncode == 0, trained.stderr
    (run,) = Path("runs", "run").iterdir()
    for said in ("device", "40 in", "30 train, 10 validate", "parameters", str(run), "sigma = 0.62"):
        assert said in trained.stdout
    assert f"tensorboard --logdir {run}" in trained.stdout
    assert "epoch 1/2" in trained.stdout and "epoch 2/2" in trained.stdout
    for made in ("last.ckpt", "best.ckpt", "metrics.csv", "config.yaml", "environment.json", "pictures"):
        assert str(run / made) in trained.stdout
    assert trained.stderr == ""
    sampled = vae("sample", "--ckpt", str(run / "last.ckpt"), "-n", "10")
    assert (sampled.returncode, sampled.stderr) == (0, "")
    assert Image.open("samples.png").size == (2 + 8 * 34, 2 + 2 * 34)


def test_two_processes_train_and_one_writes(pictures):
    done = vae(
        *("train", *flags(TINY), "--data.path", str(pictures), "--out", "ddp"),
        *("--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "4"),
    )
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stdout and done.stdout.count("epoch 1/2") == 1
    assert len(list(Path("ddp").glob("events.*"))) == 1
    table = Path("ddp", "metrics.csv").read_text().splitlines()
    assert len(table) == 3 and [row.split(",")[1] for row in table[1:]] == ["3", "6"]
    assert vae("sample", "--ckpt", "ddp/last.ckpt", "-n", "1").returncode == 0


def test_flags_override_the_file_and_the_file_the_defaults(capsys):
    path = config_file("seed: 3\noptimizer: {lr: 3e-4}\n")
    assert main(["train", "--config", path, "--seed", "4", "--model.widths", "[8, 16]", "--print_config"]) == 0
    config = from_flat(parse_yaml(capsys.readouterr().out, "printed"))
    assert (config.seed, config.optimizer.lr, config.model.widths) == (4, 0.0003, (8, 16))
    assert config.objective == Settings().objective
    assert not Path("runs").exists()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_config_trains(path, pictures):
    """On a few pictures and a network of the config's own shape but small."""
    small = {"data.path": str(pictures), "data.batch_size": "4", "trainer.max_epochs": "1", "model.width": "16"}
    small |= {"prior.epochs": "1", "prior.batch_size": "4", "prior.width": "16", "prior.depth": "1"}
    assert main(["train", "--config", str(path), *flags(small), "--trainer.accelerator=cpu"]) == 0
    (run,) = Path("runs", path.stem).iterdir()
    assert (run / "last.ckpt").exists()


def test_a_seed_gives_the_same_picture(run_folder):
    ckpt = str(run_folder / "last.ckpt")
    for name, seed in (("a.png", "1"), ("b.png", "1"), ("c.png", "2")):
        assert main(["sample", "--ckpt", ckpt, "-n", "9", "--seed", seed, "--nrow", "3", "--out", name]) == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() != Path("c.png").read_bytes()
    assert main(["sample", "--ckpt", ckpt, "-n", "300", "--seed", "1", "--out-dir", "each"]) == 0
    names = sorted(p.name for p in Path("each").iterdir())
    assert names == [f"sample_{i:06d}.png" for i in range(300)]
    grid = np.asarray(Image.open("a.png"))
    assert np.array_equal(grid[2:34, 2:34], np.asarray(Image.open("each/sample_000000.png")))
    assert np.array_equal(grid[70:102, 70:102], np.asarray(Image.open("each/sample_000008.png")))


def test_python_and_the_command_line_draw_the_same(run_folder):
    from vae_simpsons import VAE
    from vae_simpsons.images import denormalise

    assert main(["sample", "--ckpt", str(run_folder / "last.ckpt"), "-n", "1", "--out-dir", "each"]) == 0
    model = VAE.load(run_folder / "last.ckpt")
    assert repr(model) == f"VAE('{run_folder / 'last.ckpt'}', images 3x32x32, prior normal, after 2 epochs)"
    drawn = denormalise(model.sample(1))[0].permute(1, 2, 0)
    assert np.array_equal(np.asarray(Image.open("each/sample_000000.png")), drawn.numpy())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: VERB"),
        (["trian"], "vae: no such verb: trian. Did you mean train?"),
        (["evaluate", "--ckpt=x", "--split=x"], "vae: no such --split: x. Give one of val, train."),
        (["train"], "vae: nothing to train. Give --config configs/toons.yaml"),
        (["train", "--config"], "expected one argument"),
        (["train", "--data.pth", "x"], "no such option: data.pth. Did you mean --data.path?"),
        (["train", "--confg", "x.yaml"], "Did you mean --config?"),
        (["sample"], "vae: the following arguments are required: --ckpt"),
        (["sample", "--ckpt", "x", "-n", "many"], "argument -n: invalid number value: 'many'"),
        (["sample", "--ckpt", "x", "--sed", "1"], "no such option: sed. Did you mean --seed?"),
        (["sample", "--ckpt", "x", "--out", "a.png", "--out-dir", "b"], "not allowed with argument"),
    ],
)
def test_wrong_usage_exits_with_2(capfd, arguments, said):
    assert said in refused(capfd, *arguments, status=2)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("data.image_size", "big", "data.image_size: 'big' is not accepted. Give a whole number >= 1"),
        ("data.image_size", "63", "not divisible by 8 (2 for each of the 3 model.widths). Give 56 or 64"),
        ("optimizer.lr", "-1", "optimizer.lr: -1 is not accepted. Give a number > 0."),
        ("optimizer.lr", "nan", "optimizer.lr: nan is not accepted"),
        ("objective.beta", ".nan", "objective.beta: .nan is not accepted"),
        ("model.widths", "8,16", "written [32, 64]"),
        ("trainer.devices", "none", "Give a whole number >= 1 and <= 1024 or auto"),
        ("data.path", "nowhere", "data.path: no such folder: nowhere"),
        ("data.batch_size", "31", "data.batch_size: 31 is more than the 30 training images"),
        ("data.train_fraction", "1", "leaves none for validation"),
        ("trainer.precision", "16-mixed", "trainer.precision: 16-mixed needs a GPU"),
    ],
)
def test_bad_settings_exit_with_1_before_anything_is_made(capfd, pictures, key, value, said):
    settings = TINY | {"data.path": str(pictures)} | {key: value}
    assert said in refused(capfd, "train", *flags(settings), "--out", "never")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "my.yaml: the file is empty"),
        ("- a", "my.yaml: not a mapping"),
        ("a: [", "my.yaml: not valid YAML"),
        ("data: {pth: x}", "my.yaml: data.pth: no such setting. Did you mean data.path?"),
        ("optimizer: {lr: fast}", "my.yaml: optimizer.lr: 'fast' is not accepted"),
    ],
)
def test_bad_yaml_exits_with_1(capfd, text, said):
    assert said in refused(capfd, "train", "--config", config_file(text))


def test_a_config_that_is_not_there(capfd):
    assert "--config: no such file: no.yaml" in refused(capfd, "train", "--config", "no.yaml")
    assert "--config: cannot read" in refused(capfd, "train", "--config", ".")


def test_control_characters_are_escaped(capfd):
    assert r"no such file: \x1b[2J\x07.yaml" in refused(capfd, "train", "--config", "\x1b[2J\x07.yaml")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here, so asking for one is no mistake")
def test_a_gpu_asked_for_where_there_is_none(capfd, pictures):
    settings = TINY | {"data.path": str(pictures), "trainer.accelerator": "cuda"}
    assert "trainer.accelerator: cuda, but this machine has cpu only" in refused(capfd, "train", *flags(settings))


def test_bad_folders_are_refused(capfd, tmp_path):
    Path("empty").mkdir()
    assert "no images under empty" in refused(capfd, "train", *flags(TINY), "--data.path", "empty")
    for i in range(20):
        Path("empty", f"{i}.jpg").write_text("not a picture")
    assert "20 of 20 images are unreadable" in refused(capfd, "train", *flags(TINY), "--data.path", "empty")


def test_unreadable_images_are_named_and_training_continues(capfd, tmp_path):
    from conftest import draw_pictures

    folder = draw_pictures(tmp_path / "pics", 40)
    (folder / "bad name.jpg").write_text("not a picture")
    assert main(["train", *flags(TINY), "--data.path", str(folder), "--trainer.max_epochs=1"]) == 0
    said = capfd.readouterr().out
    assert "1 left out: 'bad name.jpg'" in said and "40 in" in said


def test_a_folder_that_holds_another_run_is_refused(capfd, run_folder, pictures):
    before = {p: p.stat().st_mtime_ns for p in run_folder.rglob("*")}
    said = refused(capfd, "train", *flags(TINY), "--data.path", str(pictures), "--out", str(run_folder))
    assert f"out: {run_folder} holds another run" in said and f"--resume {run_folder}" in said
    assert {p: p.stat().st_mtime_ns for p in run_folder.rglob("*")} == before


def test_an_out_that_cannot_be_a_folder(capfd, pictures):
    Path("file").write_text("x")
    said = refused(capfd, "train", *flags(TINY), "--data.path", str(pictures), "--out", "file/run")
    assert f"out: {Path.cwd() / 'file'} is a file" in said


def test_resume_finds_the_newest_run_of_its_config_and_refuses_what_would_make_it_another(capfd, pictures):
    path = config_file("data: {image_size: 32}\n")
    assert "--resume: last, but there is no runs/my/*/last.ckpt here" in refused(
        capfd, "train", "--config", path, "--resume", "last"
    )
    common = ["train", "--config", path, *flags(TINY), "--data.path", str(pictures)]
    assert main(common) == 0
    assert main([*common, "--trainer.max_epochs=3", "--resume", "last"]) == 0
    assert "resuming  after epoch 2" in capfd.readouterr().out
    (run,) = Path("runs", "my").iterdir()
    assert len((run / "metrics.csv").read_text().splitlines()) == 4
    assert "has 3 epochs already" in refused(capfd, *common, "--trainer.max_epochs=3", "--resume", str(run))
    other = refused(capfd, *common, "--model.latent_dim=9", "--trainer.max_epochs=5", "--resume", "last")
    assert "model.latent_dim: 9 here, 8 in" in other
    other = refused(capfd, "train", "--resume", str(run), "--optimizer.lr=0.1", "--trainer.max_epochs=5")
    assert "optimizer.lr: 0.1 here, 0.005 in" in other
    assert main([*common, "--out", "another"]) == 0
    capfd.readouterr()
    occupied = refused(capfd, "train", "--resume", str(run), "--out", "another", "--trainer.max_epochs=5")
    assert f"out: another holds another run than {run / 'last.ckpt'}" in occupied
    assert "--resume: no such file" in refused(capfd, "train", "--resume", "nope.ckpt")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", "0"], "-n: 0 is not accepted. Give a whole number >= 1."),
        (["-n", "-3"], "-n: -3 is not accepted"),
        (["--seed", "-1"], "--seed: -1 is not accepted"),
        (["--nrow", "0"], "--nrow: 0 is not accepted"),
        (["--out", "a.jpg"], "--out: a.jpg does not end in .png"),
        (["--out", "file/a.png"], "--out: cannot write file/a.png"),
        (["--out-dir", "file"], "--out-dir: cannot write file"),
        (["--out", "file.png"], "no PNG; it is not overwritten"),
    ],
)
def test_sample_refuses_what_it_cannot_do(capfd, run_folder, arguments, said):
    Path("file").write_text("x")
    Path("file.png").write_text("a letter")
    assert said in refused(capfd, "sample", "--ckpt", str(run_folder / "last.ckpt"), *arguments)


def test_sample_refuses_what_is_no_checkpoint(capfd):
    Path("text.ckpt").write_text("hello")
    assert "--ckpt: no such file: no.ckpt" in refused(capfd, "sample", "--ckpt", "no.ckpt")
    assert "text.ckpt is a text file" in refused(capfd, "sample", "--ckpt", "text.ckpt")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_says_how_to_continue(pictures, times):
    import signal
    import time

    settings = TINY | {"data.path": str(pictures), "out": "run", "trainer.max_epochs": "100000"}
    command = [sys.executable, "-u", "-m", "vae_simpsons", "train", *flags(settings)]
    # A shell's background job, as CI may be, starts with SIGINT ignored and hands that on: the child begins afresh.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        assert any(line.startswith("epoch 2/") for line in running.stdout)
        for _ in range(times):
            running.send_signal(signal.SIGINT)
            time.sleep(0.002)  # two at the same time are one to the system
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    first, second = (
        f"vae: {said}. Resume with: vae train --resume run\n"
        for said in ("stopped by SIGINT, and saved", "interrupted")
    )
    assert err in ((first,) if times == 1 else (first, second))
    assert vae("sample", "--ckpt", "run/last.ckpt", "-n", "1").returncode == 0


def test_the_last_run_of_a_config_whose_name_is_a_pattern(pictures):
    Path("toons[1].yaml").write_text("trainer: {max_epochs: 1}")
    train = ["train", "--config", "toons[1].yaml", f"--data.path={pictures}"]
    settings = {key: value for key, value in TINY.items() if key != "trainer.max_epochs"}
    assert main([*train, *flags(settings)]) == 0
    assert main([*train, *flags(settings), "--resume=last", "--trainer.max_epochs=2"]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS limits nothing on macOS, and Windows has none")
def test_too_small_an_address_space_is_one_line(tmp_path):
    """torch's libraries find no room in 1.2 GB."""
    script = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1_200_000_000, 1_200_000_000)); "
    script += f"from vae_simpsons.cli import main; exit(main(['sample', '--ckpt', {str(tmp_path)!r}, '-n', '4']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("vae: there is not enough memory.") and done.stderr.count("\n") == 1
