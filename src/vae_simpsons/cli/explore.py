"""`vae explore`: a page to walk through a model's latents with."""

import getpass
import os
import socket
import sys
import webbrowser
from argparse import Namespace

from vae_simpsons.cli.parsing import Parser, Verb, add_number, add_option
from vae_simpsons.cli.trained import add_model, load_model
from vae_simpsons.errors import renamed
from vae_simpsons.progress import progress_bar, warn

LOCAL = "127.0.0.1"


def add_explore_options(parser: Parser) -> None:
    default = "(default: the run's validation images or, where they are gone, samples)"
    meaning = f"images, folders, or zips and tars of images for the map {default}"
    parser.add_argument("paths", nargs="*", metavar="PATH", help=meaning)
    add_number(parser, "--images", 500, "images on the map, at most", 2)
    add_number(parser, "--port", 0, "of this machine; 0: any free one", 0)
    add_option(parser, "--host", LOCAL, "TEXT", "address to listen on; another may be reached")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page, only print its address")
    add_model(parser)


def run_explore(options: Namespace) -> None:
    """Serves the page until Ctrl-C."""
    from vae_simpsons.explore.answers import Answers
    from vae_simpsons.explore.collection import gather
    from vae_simpsons.explore.guard import Guard
    from vae_simpsons.explore.server import Application, listening, serve

    flags = renamed(host="--host", port="--port", most="--images", path="--ckpt")
    with flags, listening(options.host, options.port) as listener:
        model = load_model(options)
        collection, remarks = gather(model, options.paths, options.images, options.cache_dir, progress_bar)
        application = Application(Answers(model, collection, options.cache_dir, progress_bar), Guard(options.host))
        port = listener.getsockname()[1]
        if not application.guard.is_local:
            warn(
                f"--host {options.host}: others can reach this page, and what is sent is not encrypted. Whoever learns "
                f"the address can use it. Safer: --host {LOCAL} and an SSH tunnel."
            )
        address = f"http://{reachable_name(options.host)}:{port}/{application.guard.token}/"

        def show_address() -> None:
            print("\n".join([*remarks, f"{collection.source} on the map", address]), flush=True)
            print(describe_tunnel(port) if application.guard.is_local else "Ctrl-C ends it", flush=True)
            if not options.no_browser:
                open_browser(address)

        serve(listener, application, show_address)
    print("ended")


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


EXPLORE = Verb("open a page to walk through a model's latents with", add_explore_options, run_explore)
