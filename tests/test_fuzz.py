"""A few hundred cases of scripts/fuzz.py; docs/reliability.md has the figures of a full run."""

import re
import subprocess
import sys

import pytest

from conftest import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as only Linux does")
def test_no_config_checkpoint_or_image_makes_a_command_fail_in_more_than_one_line(tmp_path):
    counts = {"configs": 80, "checkpoints": 100, "exports": 30, "images": 80}
    flags = [f"--{kind}={count}" for kind, count in counts.items()] + [f"--kept={tmp_path / 'kept'}"]
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "fuzz.py"), *flags], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    for kind, count in counts.items():
        (cases, failures) = re.search(rf"^{kind} +(\d+) +\d+ +\d+ +(\d+) ", done.stdout, re.MULTILINE).groups()
        assert (int(cases), failures) == (count, "0")
