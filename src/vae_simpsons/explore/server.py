"""The server: a page's files, and its questions to a model, over HTTP on this machine."""

import errno
import json
import re
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.explore.answers import Answer, Answers
from vae_simpsons.explore.bodies import read_json
from vae_simpsons.explore.guard import HEADERS, Guard

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
AT_A_TIME = 8  # requests whose bodies are in memory
QUIET_S = 30  # after which a connection on which nothing comes is closed
PICTURE = re.compile(r"picture/(\d{1,5})")


class Application:
    """What werkzeug calls for each request.

    Only the files read here, at the start, are ever sent: no path that a browser gives is opened. One thread computes:
    a second one that calls torch would get threads of its own, which slow the first one's down.
    """

    def __init__(self, answers: Answers, guard: Guard) -> None:
        self.answers, self.guard = answers, guard
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.slots = BoundedSemaphore(AT_A_TIME)
        files = {
            file.name: (TYPES[file.suffix], file.read_bytes()) for file in STATIC.iterdir() if file.suffix in TYPES
        }
        about = json.dumps(answers.about(), allow_nan=False).encode()
        self.files = files | {
            "": files["index.html"],
            "model.json": ("application/json", about),
            "thumbnails.webp": ("image/webp", answers.thumbnails()),
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Answers a request (WSGI)."""
        with self.slots:
            response = self._respond(Request(environ))
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        if refusal := self.guard.refuse(request):
            return _failed(*refusal)
        name = request.path.removeprefix(f"/{self.guard.token}").removeprefix("/")
        try:
            if request.method == "POST":
                return self._ask(name, request)
            if request.method != "GET":
                return _failed(405, "GET and POST alone are answered.")
            return self._show(name, request)
        except VAEError as e:
            return _failed(400, one_line(e))
        except Exception:  # a bug: where it is, the terminal is told and the page is not
            if self.answers.stopping.is_set():
                return _failed(503, "The program has ended.")
            traceback.print_exc()
            return _failed(500, "The program failed at this; the terminal says where. What you have here is kept.")

    def _show(self, name: str, request: Request) -> Response:
        if not name and not request.path.endswith("/"):  # addresses on the page continue its own
            return Response(status=308, headers={"Location": f"/{self.guard.token}/"})
        if name in self.files:
            kind, content = self.files[name]
            return Response(content, mimetype=kind)
        if (match := PICTURE.fullmatch(name)) and int(match[1]) < len(self.answers.collection.names):
            return _answered(self.answers.picture(int(match[1])))
        return _failed(404, "There is no such page.")

    def _ask(self, name: str, request: Request) -> Response:
        try:
            raw = request.get_data(cache=False)
        except (HTTPException, OSError):
            return _failed(400, "What was sent came incomplete. Send it again.")
        if name == "encode":
            return _answered(self._compute(self.answers.encode, raw))
        if name in self.answers.asked:
            return _answered(self._compute(self.answers.asked[name], read_json(raw)))
        return _failed(404, "There is no such question.")

    def _compute(self, work: Callable[[Any], Answer], argument: Any) -> Answer:
        return self.worker.submit(work, argument).result()

    def close(self) -> None:
        """Ends what is being computed, and computes no more."""
        self.answers.stopping.set()
        self.worker.shutdown(cancel_futures=True)


class Handler(WSGIRequestHandler):
    """Reads requests; prints none of them, since their paths hold the token."""

    timeout = QUIET_S

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Prints nothing; nor would a path that is no address be parsed."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Prints nothing."""

    def version_string(self) -> str:
        """Returns what a stranger is told of the server."""
        return "vae-explore"


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yields a socket that listens on `host`; port 0 is any free one.

    Raises:
        VAEError: naming `host` or `port`.
    """
    try:
        if port >= 2**16:  # getaddrinfo would take the rest of a division
            raise VAEError(f"port: {port} is not accepted. Give a whole number from 0 to {2**16 - 1:,}.")
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as e:
        raise VAEError(f"host: {host}: {one_line(e)}. Give an address of this machine, such as 127.0.0.1.") from None
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        if sys.platform != "win32":  # where it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as e:
            if e.errno == errno.EADDRNOTAVAIL:
                raise VAEError(f"host: {host} is no address of this machine. Give one, such as 127.0.0.1.") from None
            raise VAEError(
                f"port: {port}: {one_line(e.strerror or e)}. Give another one, or 0 for any free one."
            ) from None
        listener.listen(AT_A_TIME * 32)
        yield listener


def serve(listener: socket.socket, application: Application, on_ready: Callable[[], None]) -> None:
    """Answers requests until Ctrl-C.

    Args:
        on_ready: called when it begins.
    """
    host, port = listener.getsockname()[:2]
    server = make_server(host, port, application, threaded=True, request_handler=Handler, fd=listener.fileno())
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of pictures that are refused anyway
        try:
            on_ready()
            server.serve_forever()  # returns on Ctrl-C
        finally:
            application.close()


def _answered(answer: Answer) -> Response:
    if isinstance(answer, bytes):
        return Response(answer, mimetype="image/gif" if answer.startswith(b"GIF") else "image/png")
    return Response(json.dumps(answer, allow_nan=False), mimetype="application/json")


def _failed(status: int, reason: str) -> Response:
    return Response(json.dumps({"error": reason}), status, mimetype="application/json")
