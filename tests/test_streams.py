"""What is printed never ends a command, and is escaped where it cannot be shown."""

import errno
import io
import os
import pty
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TINY, draw_pictures, flags
from vae_simpsons.checkpoint import read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.progress import shows_bars
from vae_simpsons.streams import BARS, LINES, Stream

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shells and signals of POSIX")
VAE = f"{sys.executable} -m vae_simpsons"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")


class Broken(io.StringIO):
    """A stream that nobody reads, or on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def shell(line: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env=os.environ | environment,
    )


@pytest.mark.parametrize(("keeps", "shown"), [(LINES, "a\\x1b[A\\rb\n\tc\\x07"), (BARS, "a\x1b[A\rb\n\tc\\x07")])
def test_what_a_terminal_would_obey_is_escaped(keeps, shown):
    out = io.StringIO()
    assert Stream(out, keeps).write("a\x1b[A\rb\n\tc\x07") == 10
    assert out.getvalue() == shown


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "ホé\\xff"), ("cp1252", "\\u30dbé\\xff"), ("ascii", "\\u30db\\xe9\\xff")]
)
def test_what_the_encoding_lacks_is_escaped(encoding, shown):
    raw = io.BytesIO()
    stream = Stream(io.TextIOWrapper(raw, encoding), LINES)
    print("ホé\udcff", file=stream, end="", flush=True)
    assert raw.getvalue().decode(encoding) == shown


def test_a_stream_that_fails_is_silent_from_then_on():
    stream = Stream(Broken(), LINES)
    print("one", file=stream, flush=True)
    assert stream.failed.errno == errno.EIO
    print("two", file=stream, flush=True)


@FULL
@pytest.mark.parametrize("where", ["> /dev/full", "2>&-", ">&- 2>&-", "| head -1", "> /dev/full 2> /dev/full"])
def test_training_goes_on_where_nobody_sees_it(pictures, where):
    settings = TINY | {"data.path": str(pictures), "out": "run", "trainer.max_epochs": "2"}
    assert shell(f"{VAE} train {shlex.join(flags(settings))} {where}").returncode == 0
    assert read_checkpoint(Path("run/last.ckpt")).epochs == 2


@FULL
def test_a_report_that_could_not_be_printed_is_an_error(pictures):
    lost = shell(f"{VAE} data check {pictures} --data.image_size 32 > /dev/full")
    assert lost.returncode == 1 and lost.stderr == "vae: not all could be printed: No space left on device.\n"
    assert shell(f"{VAE} data check {pictures} --data.image_size 32 | head -1").stderr == ""


def test_names_that_cannot_be_shown_are_escaped(tmp_path, monkeypatch, capsys):
    draw_pictures(tmp_path / "drawn", 40)
    for i, name in enumerate(("ホーマー", "\x1b[31mred\n", b"caf\xe9".decode(errors="surrogateescape"))):
        (tmp_path / "named").mkdir(exist_ok=True)
        (tmp_path / "drawn" / f"class_{i % 2}").rename(tmp_path / "named" / name) if i < 2 else None
    checked = shell(f"{VAE} data check named --data.image_size 32", PYTHONIOENCODING="cp1252")
    assert checked.returncode == 0 and "\\x1b[31mred 20, \\u30db\\u30fc\\u30de\\u30fc 20" in checked.stdout


def test_a_run_of_names_that_are_no_utf8(pictures, capfd):
    source, out = (b"\xffp".decode(errors="surrogateescape"), b"\xffo ut".decode(errors="surrogateescape"))
    os.symlink(pictures, source)
    assert main(["train", *flags(TINY), f"--data.path={source}", f"--out={out}"]) == 0
    said = capfd.readouterr()
    assert "next  vae sample --ckpt $'\\xffo\\x20ut/last.ckpt' -n 64" in said.out
    assert "TensorBoard takes no folder whose name is not UTF-8" in said.err
    assert shell("true $'\\xffo\\x20ut/last.ckpt' && ls $'\\xffo\\x20ut/last.ckpt'").returncode == 0
    assert main(["export", "--ckpt", f"{out}/last.ckpt", "--out", f"{source}x"]) == 0
    assert main(["train", *flags(TINY), f"--data.path={source}", "--out=plain"]) == 0  # settings as TensorBoard's text


def close_terminal(arguments: list[str], ignores: bool) -> int:
    """The status of a training run whose terminal closes once it has saved."""
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignores else signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, "-m", "vae_simpsons", "train", *arguments])
    while not Path("run/last.ckpt").exists():
        os.read(terminal, 65536)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("ignores", "epochs"), [(False, 100_000), (True, 30)])
def test_a_terminal_that_closes_stops_a_run_that_is_saved_unless_it_is_ignored(pictures, ignores, epochs):
    settings = TINY | {"data.path": str(pictures), "out": "run", "trainer.max_epochs": str(epochs)}
    assert close_terminal(flags(settings), ignores) == (0 if ignores else 128 + signal.SIGHUP)
    assert (read_checkpoint(Path("run/last.ckpt")).epochs == epochs) == ignores


def test_bars_need_a_terminal_whose_width_is_known(monkeypatch):
    class Terminal(io.StringIO):
        isatty, fileno = (lambda self: True), (lambda self: 2)

    monkeypatch.setattr(sys, "stderr", Terminal())
    for columns, shown in ((80, True), (0, False)):
        monkeypatch.setattr(os, "get_terminal_size", lambda fd, columns=columns: os.terminal_size((columns, 24)))
        assert shows_bars() is shown
    monkeypatch.undo()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not shows_bars()
