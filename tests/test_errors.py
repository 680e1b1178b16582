import pytest

from vae_simpsons.errors import Interrupted, UsageError, VAEError, renamed


def raised(error: VAEError, **names: str) -> VAEError:
    with pytest.raises(VAEError) as caught, renamed(**names):
        raise error
    return caught.value


def test_an_argument_gets_the_name_that_the_user_knows():
    assert str(raised(VAEError("path: no such file: a: b"), path="--ckpt")) == "--ckpt: no such file: a: b"
    assert str(raised(VAEError("path: x"), archive="ARCHIVE", path="data.path")) == "data.path: x"


@pytest.mark.parametrize("text", ["device: none", "the path: x", "paths: x", "path", "path:x", ""])
def test_other_errors_are_left_as_they_are(text):
    assert str(raised(VAEError(text), path="--ckpt")) == text


def test_the_kind_of_the_error_and_its_exit_status_stay():
    usage = raised(UsageError("path: x"), path="--ckpt")
    assert isinstance(usage, UsageError) and usage.status == 2 and str(usage) == "--ckpt: x"
    stopped = raised(Interrupted("path: x", 130), path="--ckpt")
    assert stopped.status == 130 and str(stopped) == "--ckpt: x"


def test_what_is_no_error_of_the_user_passes_through():
    with pytest.raises(KeyError), renamed(path="--ckpt"):
        raise KeyError("path: x")
