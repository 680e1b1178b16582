"""docs/tutorial.md: its commands parse, its figures and its links to code are true."""

import json
import re
import shlex

import pytest

import tutorial
from conftest import ROOT
from vae_simpsons.cli import build_parser
from vae_simpsons.configfile import from_flat, read_yaml

TEXT = tutorial.TUTORIAL.read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.M | re.S)  # without its blocks
FORMULAS = [*tutorial.blocks(TEXT, "math"), *re.findall(r"\$([^$]+)\$", re.sub(r"`[^`]*`", "", PROSE))]
COMMANDS = set(
    "aligned begin big Big end frac ge lambda left log Longleftrightarrow Longrightarrow mathbb mid mu odot"
    " operatorname pi qquad quad right sigma sim sqrt sum text top varepsilon Vert".split()
)


def test_each_command_parses():
    parser = build_parser()
    commands = [shlex.split(command) for command in tutorial.commands(TEXT)]
    assert len(commands) > 30
    for program, *words in commands:
        assert program == "python" or parser.parse_args(words)


def test_a_command_is_run_once(tmp_path):
    for _ in range(2):
        tutorial.run_command("python -c \"open('runs', 'a').write('1')\"", tmp_path)
    assert (tmp_path / "runs").read_text() == "1"


def test_an_interrupted_training_is_resumed(tmp_path, monkeypatch):
    (tmp_path / "ae").mkdir()
    (tmp_path / "ae" / "last.ckpt").touch()
    run = []
    monkeypatch.setattr(tutorial.subprocess, "run", lambda command, **options: run.extend(command))
    tutorial.run_command("vae train --config faces.yaml --out ae", tmp_path)
    assert run[-3:] == ["train", "--resume", str(tmp_path / "ae")]


def test_the_config_is_accepted(tmp_path):
    (config,) = tutorial.blocks(TEXT, "yaml")
    (tmp_path / tutorial.CONFIG).write_text(config)
    from_flat(read_yaml(tmp_path / tutorial.CONFIG))


def test_figures_and_lines_of_code_are_todays():
    known = json.loads(tutorial.FIGURES.read_text(encoding="utf-8"))
    assert len(tutorial.NUMBER.findall(TEXT)) > 20
    assert len(tutorial.CODE_LINK.findall(TEXT)) > 10
    assert tutorial.relink(tutorial.fill_in(TEXT, known)) == TEXT, "run: python scripts/tutorial.py --text"


def test_a_line_that_is_gone_is_named():
    with pytest.raises(ValueError, match="0 lines with 'no such code'"):
        tutorial.relink("[`no such code`](../src/vae_simpsons/objective.py#L1)")


def test_links_lead_to_files_and_every_picture_is_shown():
    targets = {target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", TEXT) if "://" not in target}
    assert not [target for target in targets if target and not (ROOT / "docs" / target).exists()]
    shown = {target for target in targets if target.endswith(".png")}
    pictures = list(tutorial.PICTURES.glob("*.png"))
    assert shown == {f"tutorial/{path.name}" for path in pictures}
    assert sum(path.stat().st_size for path in pictures) < 1_500_000


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_are_whole(formula):
    """Braces, environments and \\left are closed; commands are those that are known to be rendered."""
    plain = formula.replace(r"\{", "").replace(r"\}", "")
    depth = 0
    for letter in plain:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert re.findall(r"\\begin\{(\w+)\}", formula) == re.findall(r"\\end\{(\w+)\}", formula)
    assert formula.count(r"\left") - formula.count(r"\leftarrow") == formula.count(r"\right") - formula.count(
        r"\rightarrow"
    )
    assert set(re.findall(r"\\([A-Za-z]+)", formula)) <= COMMANDS


def test_formulas_survive_markdown():
    """In $...$ GitHub reads a backslash before punctuation, *, and _ after punctuation as Markdown."""
    inline = re.sub(r"`[^`]*`", "", PROSE)
    assert inline.count("$") % 2 == 0
    for paragraph in inline.split("\n\n"):
        assert paragraph.count("$") % 2 == 0, paragraph
    for formula in re.findall(r"\$([^$]+)\$", inline):
        assert not re.search(r"\\[^A-Za-z]|\*|(?<![A-Za-z0-9])_|^\s|\s$", formula), formula
    for text in inline.split("$")[::2]:  # a formula begins and ends beside a letter of a word nowhere
        assert not text[:1].isalnum() and not text[-1:].isalnum(), text
