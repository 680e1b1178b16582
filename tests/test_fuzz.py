"""The part of scripts/fuzz.py that takes seconds; README has the figures of the whole."""

import re
import subprocess
import sys

import pytest

from conftest import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and time as Linux has them")
def test_no_config_checkpoint_or_image_ends_in_anything_but_one_line():
    counts = {"configs": 80, "checkpoints": 100, "exports": 30, "images": 80}
    flags = [f"--{kind}={count}" for kind, count in counts.items()]
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "fuzz.py"), *flags], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    for kind, count in counts.items():
        (cases, failures) = re.search(rf"^{kind} +(\d+) +\d+ +\d+ +(\d+) ", done.stdout, re.MULTILINE).groups()
        assert int(cases) >= count and failures == "0"
