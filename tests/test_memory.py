import platform

from vae_simpsons.memory import keep_freed_buffers


def test_the_c_library_is_asked_to_keep_buffers_or_it_is_none_that_could():
    assert keep_freed_buffers() == (platform.libc_ver()[0] == "glibc")
