"""Writes docs/settings.md from the declarations of the settings: python scripts/settings_page.py"""

from pathlib import Path

import yaml

from vae_simpsons.settings import keys, sections

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
START = """# Settings

For whoever writes a config: every key, what it accepts, its default and what it means. Each is a key of the YAML file
and a flag (`--model.width 64`), which overrides the file; `vae train --print_config` prints what a command would use.
This page is written by `python scripts/settings_page.py` from `src/vae_simpsons/settings.py`.
"""
TABLE = "| key | default | accepts | meaning |\n| --- | --- | --- | --- |"


def page() -> str:
    """Returns the page: a table for each section."""
    parts = [START]
    for name, section in sections().items():
        rows = [row(key) for key in keys() if key.rpartition(".")[0] == name]
        parts.append(f"## {name}\n\n{section.__doc__}\n\n{TABLE}" if name else TABLE)
        parts[-1] += "\n" + "\n".join(rows) + "\n"
    return "\n".join(parts)


def row(key: str) -> str:
    """Returns the row of a setting."""
    setting = keys()[key]
    default = yaml.safe_dump(setting.default, default_flow_style=True).split("\n")[0]
    meaning = setting.meaning.replace("<", "&lt;")  # or Markdown takes <time> for HTML
    cells = (f"`{key}`", default, keys()[key].accepts(), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
