"""What strangers get from `vae explore`: plain HTTP against the real command."""

import io
import json
import os
import socket
import struct
import threading
import zlib
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from vae_simpsons.explore.guard import MAX_BYTES, Guard


class Reply:
    def __init__(self, response) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


@pytest.fixture
def ask(explorer):
    """Sends a request below the page's address, or to a whole path; returns the reply."""
    address = urlsplit(explorer.address)

    def send(name: str, body: bytes | dict | None = None, whole: bool = False, method: str = "", **headers) -> Reply:
        connection = HTTPConnection(address.hostname, address.port, timeout=60)
        raw = json.dumps(body).encode() if isinstance(body, dict) else body
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        path = name if whole else address.path + name
        connection.request(method or ("GET" if raw is None else "POST"), path, raw, given)
        try:
            return Reply(connection.getresponse())
        finally:
            connection.close()

    return send


@pytest.fixture
def z(ask) -> list[float]:
    return json.loads(ask("mean", {"numbers": [0]}).body)["z"]


def test_says_where_it_is_and_how_to_reach_it(explorer):
    port = urlsplit(explorer.address).port
    assert explorer.printed[0] == "10 validation images of the run on the map\n"
    assert urlsplit(explorer.address).hostname == "127.0.0.1" and len(urlsplit(explorer.address).path) == 34
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in explorer.printed[2] and "Ctrl-C ends it" in explorer.printed[2]


def test_a_page_asks_no_other_machine_and_tells_none_its_address(ask):
    for name in ("", "main.js", "style.css", "model.json", "thumbnails.webp", "picture/3"):
        reply = ask(name)
        assert reply.status == 200 and reply.body
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
        assert reply.headers["Referrer-Policy"] == "no-referrer" and reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Content-Type-Options"] == "nosniff" and reply.headers["Server"] == "vae-explore"
        assert not any(key.lower().startswith("access-control") for key in reply.headers)
    assert b"http" not in ask("").body + ask("style.css").body + ask("main.js").body


@pytest.mark.parametrize(
    "path", ["/", "/model.json", "/wrong/model.json", "//", "/%00/", "/%C3%A9%FF", "/CUT", "/CASE"]
)
def test_wrong_token(ask, explorer, path):
    token = urlsplit(explorer.address).path.strip("/")
    path = path.replace("CUT", token[:-1]).replace("CASE", token.swapcase())
    for body in (None, b"{}"):
        reply = ask(path, body, whole=True)
        assert reply.status == 403 and reply.error.startswith("This is not the address that vae explore printed")
        assert token.encode() not in reply.body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:127.0.0.1", 403),
        ("evil@127.0.0.1", 403),
        ("10.0.0.1", 403),
        ("", 403),
        ("localhost", 200),
        ("LOCALHOST:5000", 200),  # the other end of a tunnel
        ("[::1]:5000", 200),
    ],
)
def test_foreign_host(ask, host, status):
    assert ask("model.json", Host=host).status == status
    assert ask(f"http://{host or 'evil.example'}/", whole=True, Host="localhost").status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # another program on this machine
        {"Origin": "http://[broken"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_foreign_origin(ask, z, headers):
    for reply in (ask("model.json", **headers), ask("decode", {"z": [z]}, **headers)):
        assert reply.status == 403 and reply.error.startswith("Another page asked for this")


def test_the_address_without_its_last_slash_leads_to_the_page(ask, explorer):
    path = urlsplit(explorer.address).path
    reply = ask(path.rstrip("/"), whole=True)
    assert (reply.status, urlsplit(reply.headers["Location"]).path) == (308, path)


def test_own_origin(ask, explorer, z):
    own = explorer.address.rpartition("/")[0].rpartition("/")[0]
    assert ask("decode", {"z": [z]}, Origin=own, Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "..%5c..%5cserver.py",
        "server.py",
        "../server.py",
        "picture/../model.json",
        "picture/99999",
        "picture/-1",
        "picture/1e1",
        "model.json%00.png",
    ],
)
def test_no_path_of_a_browser_is_opened(ask, name):
    for body in (None, b"{}"):
        reply = ask(name, body)
        assert (reply.status, reply.error[:18]) == (404, "There is no such p" if body is None else "There is no such q")


def picture_of(width: int, height: int, rows: bytes) -> bytes:
    """A PNG of one bit a pixel, with these bytes as its compressed rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def memory(pid: int, line: str) -> int:
    """A figure of /proc/PID/status: kilobytes, or a number."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{line}:")[1].split()[0])


def test_bombs_and_what_is_no_picture(ask, explorer):
    before = memory(explorer.pid, "VmHWM") if os.path.exists("/proc/self/status") else 0
    squeezed = zlib.compress(bytes(1501 * 12_000), 9)  # 144 million pixels in 18 kB
    refused = {
        picture_of(12_000, 12_000, squeezed): "12000x12000, more than 67,108,864 pixels",
        picture_of(6000, 6000, zlib.compress(b"")): "6000x6000 from 65 bytes, a decompression bomb",
        picture_of(70_000, 1, b""): "70000x1, a side of more than 65,536 pixels",
        b"Dear sir": "not an image (JPEG, PNG, WEBP, BMP, GIF, TIFF, AVIF)",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>": "not an image (JPEG, PNG, WEBP, BMP, GIF, TIFF, AVIF)",
        b"": "empty",
    }
    for body, reason in refused.items():
        reply = ask("encode", body)
        assert (reply.status, reply.error) == (400, f"picture: {reason}. Give another one.")
    if before:
        assert memory(explorer.pid, "VmHWM") - before < 50_000


def test_what_is_no_question(ask, z):
    for body in (b"", b"Dear sir", b"[1]", b"[" * 100_000, b'{"z": ' + b"9" * 5000 + b"}", b"\xff\xfe"):
        assert ask("decode", body).error == "the request is no JSON object. Reload the page."
    numbers = "z: something else than numbers from -10,000 to 10,000."
    length = "z: 7 numbers, and a latent of this model has 8. Open one of the same model."
    for wrong, error in (([z[1:]], length), ([["a"] * 8], numbers), ([[True] * 8], numbers), ([[1e9] * 8], numbers)):
        assert ask("decode", {"z": wrong}).error == error
    assert ask("decode", b'{"z": [[NaN, 1, 1, 1, 1, 1, 1, Infinity]]}').error == numbers
    assert ask("decode", {}).error.startswith("z: None, and a latent")
    assert ask("mean", {"numbers": [10]}).error == "numbers: no list of pictures from 0 to 9."
    assert ask("walk", {"z": [z] * 2, "steps": 241}).error.startswith("steps: 241 is not accepted.")
    assert ask("walk", {"z": [z] * 100, "steps": 16}).error.startswith("steps: 1,600 pictures in all, more than 1,000")
    assert ask("gif", {"z": [z]}).error == "x: 1 picture is no way. Give two or more."
    assert ask("draw", {"count": 17}).error.startswith("count: 17 is not accepted. Give a whole number from 1 to 16")
    assert ask("draw", {"seed": 1.5}).error.startswith("seed: 1.5 is not accepted.")
    assert ask("draw", {"temperature": "hot"}).error.startswith("temperature: 'hot' is not accepted.")
    assert ask("draw", {"class": ["homer"]}).error.startswith("class_names: the model was told no classes.")
    assert ask("model.json", method="OPTIONS").status == 405 and ask("model.json", method="PUT").status == 405


def test_what_is_too_large_or_has_no_end_is_not_read(ask, explorer):
    address = urlsplit(explorer.address)
    reply = ask("encode", b"", Content_Length=str(MAX_BYTES + 1))
    assert (reply.status, reply.error) == (413, "picture: more than 32 MB. Give a smaller file.")
    connection = HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("POST", address.path + "encode", iter([b"a"]), encode_chunked=True)
    assert connection.getresponse().status == 411
    connection.close()
    with socket.create_connection((address.hostname, address.port)) as half:  # a sender that stops in the middle
        half.sendall(f"POST {address.path}encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nab".encode())
        half.shutdown(socket.SHUT_WR)
        assert b" 400 " in half.recv(1000)


def test_200_requests_at_once(ask, explorer, z):
    """Each is answered, and no thread or connection is left behind."""
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), (200, 40, 90)).save(picture, "JPEG")
    expected = {"decode": ask("decode", {"z": [z]}).body, "encode": ask("encode", picture.getvalue()).body}
    proc = Path(f"/proc/{explorer.pid}")
    opened = len(list(proc.glob("fd/*")))
    wrong = []

    def work(i: int) -> None:
        name, body = [("decode", {"z": [z]}), ("encode", picture.getvalue())][i % 2]
        reply = ask(name, body)
        if (reply.status, reply.body) != (200, expected[name]):
            wrong.append(reply.body)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    if proc.exists():
        assert ask("model.json").status == 200
        assert memory(explorer.pid, "Threads") < 30 and len(list(proc.glob("fd/*"))) <= opened + 2


@pytest.mark.parametrize(("host", "accepted"), [("192.168.1.7:80", True), ("evil.example", False), ("[fe80::1]", True)])
def test_elsewhere_than_on_this_machine_addresses_in_numbers_are_its_own(host, accepted):
    guard = Guard("0.0.0.0")
    request = Request(EnvironBuilder(f"/{guard.token}/", headers={"Host": host}).get_environ())
    assert (guard.refuse(request) is None) == accepted
    assert not guard.is_local and Guard("127.0.0.2").is_local
