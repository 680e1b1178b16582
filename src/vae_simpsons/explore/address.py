"""Where the page is, for people and for their browser."""

import getpass
import os
import socket
import sys
import webbrowser


def reachable_name(host: str) -> str:
    """Returns how an address that was listened on is written in the page's address."""
    if host in ("", "0.0.0.0", "::"):  # all of this machine's
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def describe_tunnel(port: int) -> str:
    """Returns in words how to reach a page of this machine alone from another one."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's number without a name
        user = "USER"
    return (
        f"from another machine: ssh -N -L {port}:127.0.0.1:{port} {user}@{socket.gethostname()}, then open the same "
        "address there. Ctrl-C ends it"
    )


def open_browser(address: str) -> None:
    """Opens a page on this machine's screen, if it has one and its user sits before it."""
    has_screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_screen and not os.environ.get("SSH_CONNECTION"):
        webbrowser.open(address)
