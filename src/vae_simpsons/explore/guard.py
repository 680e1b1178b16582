"""Who may ask: whoever has the token, from a page of this server, under a name of this machine."""

import hmac
import ipaddress
import re
import secrets
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from werkzeug.wrappers import Request

LOCAL = ("127.0.0.1", "localhost", "::1")
NAME_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/]+)(?::\d{1,5})?")
MAX_BYTES = 32 * 2**20  # of a picture that is sent
WRONG_TOKEN = "This is not the address that vae explore printed: it ends in a token. Open that one."
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the token stays here
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refusal(NamedTuple):
    """Why a request is not answered."""

    status: int
    reason: str


class Guard:
    """Checks requests before anything of them is used.

    Args:
        host: what the server listens on. Unless it is this machine alone, it may be called by any address in numbers:
            only a name can be made to mean another machine (DNS rebinding).

    Attributes:
        token: what the path of each request begins with.
    """

    def __init__(self, host: str) -> None:
        self.token = secrets.token_urlsafe(24)
        self.is_local = host in LOCAL or (_is_number(host) and ipaddress.ip_address(host).is_loopback)
        self.names = {*LOCAL, host.lower()} | (set() if self.is_local else {socket.gethostname().lower()})

    def refuse(self, request: Request) -> Refusal | None:
        """Returns why a request is refused; None for one to answer."""
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if not self._is_own(host):
            return Refusal(403, "This is no name of this machine. Open the printed address.")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in ("none", "same-origin") or (origin is not None and _netloc(origin) != host):
            return Refusal(403, "Another page asked for this. Open the printed address itself.")
        given = request.path.split("/")[1]
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
            return Refusal(403, WRONG_TOKEN)
        if request.method == "POST" and request.content_length is None:
            return Refusal(411, "The length of what is sent is not given.")
        if (request.content_length or 0) > MAX_BYTES:
            return Refusal(413, f"picture: more than {MAX_BYTES // 2**20} MB. Give a smaller file.")
        return None

    def _is_own(self, host: str) -> bool:
        """Whether `host`, NAME or NAME:PORT, is this machine; through a tunnel the port is another one."""
        match = NAME_AND_PORT.fullmatch(host)
        name = match[1].strip("[]").lower() if match else ""
        return name in self.names or (not self.is_local and _is_number(name))


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
