"""~ in every path, and paths in commands that are printed."""

import os
import subprocess
from pathlib import Path

import pytest

from conftest import draw_pictures
from vae_simpsons import VAE, VAEError
from vae_simpsons.cli import build_parser, main
from vae_simpsons.cli.parsing import PATHS, Parser
from vae_simpsons.configfile import from_flat, parse_yaml
from vae_simpsons.paths import expand_home, for_shell


def parsers(parser: Parser) -> list[Parser]:
    """A parser and all that are in it."""
    inner = [p for a in parser._actions if isinstance(a.choices, dict) for p in a.choices.values()]
    return [parser, *(below for p in inner for below in parsers(p))]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.skipif(os.name == "nt", reason="HOME is POSIX's")
def test_every_path_of_every_verb_expands_the_home_folder(home):
    tried = 0
    for parser in parsers(build_parser()):
        for action in (a for a in parser._actions if a.metavar in PATHS):
            listed = action.nargs in ("+", "*")
            options = type("Options", (), {action.dest: ["~/x"] if listed else "~/x"})()
            parser.expand_paths(options)
            assert getattr(options, action.dest) == ([f"{home}/x"] if listed else f"{home}/x")
            tried += 1
    assert tried > 40


@pytest.mark.skipif(os.name == "nt", reason="HOME is POSIX's")
def test_the_home_folder_in_yaml_in_flags_and_from_python(run_folder, home):
    assert from_flat(parse_yaml("data: {path: ~/x, cache_dir: ~/c}\nout: ~/o", "text")).data.path == f"{home}/x"
    draw_pictures(home / "x", 4)
    assert main(["sample", f"--ckpt={run_folder}/last.ckpt", "--out=~/s.png", "-n", "2"]) == 0
    assert main(["sample", f"--ckpt={run_folder}/last.ckpt", "--out=./~", "--out-dir", "./~", "-n", "2"]) == 2
    assert main(["export", f"--ckpt={run_folder}/last.ckpt", "--out=~/e"]) == 0
    assert sorted(p.name for p in home.iterdir()) == ["e", "s.png", "x"] and not Path("~").exists()
    assert len(VAE.load("~/e").reconstruct("~/x")) == 4


def test_a_literal_tilde_stays(home):
    assert Path(expand_home("path", expand_home("path", "./~x"))) == Path.cwd() / "~x"
    assert expand_home("path", "a~") == "a~"


@pytest.mark.parametrize(
    "verb", [["sample", "--ckpt"], ["data", "check"], ["train", "--data.path"], ["export", "--ckpt"]]
)
def test_no_such_user_is_said_in_one_line(capsys, verb):
    extra = ["--out=x"] if verb[0] == "export" else []
    assert main([*verb, "~nobody-of-that-name/x", *extra]) == 1
    said = capsys.readouterr().err
    assert "'~nobody-of-that-name/x': there is no user 'nobody-of-that-name'. Write the path in full" in said
    assert said.count("\n") == 1


def test_no_home_folder_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as without HOME and without an entry of the user
    with pytest.raises(VAEError, match="out: '~/x': this user has no home folder. Write the path in full"):
        from_flat({"out": "~/x"})


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize(
    "name",
    ["plain", "a b", "it's", "$x `y`", "~", "-n", "ホ", "\x1b[31m\n", b"\xff \x80a".decode(errors="surrogateescape")],
)
def test_a_shell_reads_a_printed_path_back(name):
    Path("./" + name).touch()
    listed = subprocess.run(["bash", "-c", f"ls -d {for_shell(Path(name))} > /dev/null"], capture_output=True)
    assert listed.returncode == 0, listed.stderr
