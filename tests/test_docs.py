"""The documentation: its links lead somewhere, its commands parse, and the README's are what .ci/run runs."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
import settings_page

from conftest import CONFIGS, ROOT, every_verb
from vae_simpsons.cli import build_parser, main

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def shell_commands(script: str) -> Iterator[list[str]]:
    """Returns the words of each command in a shell script, its variables replaced, as far as our docs go."""
    variables: dict[str, str] = {}
    for line in script.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word not in ("&&", "||"):
                words += Template(word).safe_substitute(variables).split()
            elif words and (assigned := re.match(r"(\w+)=(?!\$\()", words[0])):
                variables[assigned[1]] = " ".join(words)[assigned.end() :]
                words = []
            else:
                yield words
                words = []


def vae_commands(page: Path) -> list[list[str]]:
    """Returns the arguments of each `vae` command in the page's code blocks."""
    found = []
    for language, script in FENCE.findall(read(page)):
        for words in shell_commands(script) if language == "sh" else ():
            for name in ("vae", "vae_simpsons"):  # alone, after srun, or as torchrun's module
                found += [words[words.index(name) + 1 :]] if name in words[:20] else []
    return found


@each_page
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", read(page)))
    for target in targets:
        path, _, heading = target.partition("#")
        if "://" in path:
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if line := re.fullmatch(r"L(\d+)", heading):
            assert int(line[1]) <= read(there).count("\n"), target
        else:
            assert not heading or heading in anchors(there), target


def anchors(page: Path) -> list[str]:
    """Returns the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", read(page)), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@each_page
def test_files_that_a_page_names_are_there(page):
    for name in re.findall(r"\b(?:configs|scripts|tests|src)/[\w/-]+\.\w+", read(page)):
        assert (ROOT / name).exists(), name


@each_page
def test_commands_parse(page):
    for arguments in vae_commands(page):
        build_parser().parse_args(arguments)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_commands_on_top_of_a_config_parse(path):
    lines = re.findall(r"^# +vae (.*)$", read(path), re.MULTILINE)
    assert lines
    for line in lines:
        build_parser().parse_args(shlex.split(line, comments=True))


def test_each_verb_is_shown():
    shown = [arguments for page in PAGES for arguments in vae_commands(page)]
    assert not [verb for verb in every_verb() if not any(words[: len(verb)] == verb for words in shown)]


def test_continuous_integration_runs_the_readmes_first_two_commands():
    scripts = [script for language, script in FENCE.findall(read(ROOT / "README.md")) if language == "sh"]
    install, train, sample = [words for script in scripts for words in shell_commands(script)][:3]
    run = [[word for word in words if word != "-q"] for words in shell_commands(read(ROOT / ".ci" / "run"))]
    assert install in run
    assert any(words[: len(train)] == train for words in run)
    assert any(words[:3] + words[4:6] == sample[:3] + sample[4:6] for words in run), "but for the checkpoint's path"


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= 14_000


@each_page
def test_a_page_begins_with_whom_it_is_for(page):
    assert page.name == "README.md" or re.match(r"# .+\n\nFor ", read(page))


def test_the_page_of_settings_is_that_of_the_declarations():
    assert read(settings_page.PAGE) == settings_page.page(), "run scripts/settings_page.py"


def test_the_page_of_pictures_says_how_alike_near_duplicates_are():
    from vae_simpsons.data import similar

    text = " ".join(read(ROOT / "docs" / "data.md").split())
    assert f"at most {similar.MAX_BITS} of 63 bits" in text and f"at most {similar.MAX_RMSE:g} grey levels" in text


@each_page
def test_commands_that_are_marked_quick_run(page, tmp_path, monkeypatch):
    """Blocks of commands behind `<!-- quick -->`, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for script in re.findall(r"<!-- quick -->\n```sh\n(.*?)```", read(page), re.S):
        for words in shell_commands(script):
            assert main(words[1:]) == 0, words
