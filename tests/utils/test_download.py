"""Downloads against a server on loopback: whole, cut, changed, slow, lying and gone."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cardamage.errors import DownloadError
from cardamage.utils.download import download, sha256_of

BODY = np.random.default_rng().bytes(3_000_000)
SHA = hashlib.sha256(BODY).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def sentence_of(url: str, target: Path, **options: Any) -> str:
    with pytest.raises(DownloadError) as caught:
        download(url, target, **options)
    return str(caught.value)


def by_hand(target: Path) -> str:
    return f": check the address and the network, or download the file elsewhere and put it at '{target}'."


@pytest.fixture
def url(loopback: Any) -> str:
    loopback.files["/w.pth"] = BODY
    return f"{loopback.url}/w.pth"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "w.pth"


def test_a_file_comes_whole_and_once(loopback: Any, url: str, target: Path) -> None:
    download(url, target, sha256=SHA)
    assert target.read_bytes() == BODY
    assert names(target.parent) == ["w.pth"]
    assert loopback.headers[0]["Accept-Encoding"] == "identity"
    download(url, target)
    assert loopback.requests == [("/w.pth", None)]
    loopback.files["/w.pth"] = b"newer"
    download(url, target, force=True)
    assert target.read_bytes() == b"newer"


def test_an_empty_file(loopback: Any, target: Path) -> None:
    loopback.files["/empty"] = b""
    download(f"{loopback.url}/empty", target)
    assert target.read_bytes() == b""


@pytest.mark.parametrize("cut", [1, 1000, len(BODY) // 2, len(BODY) - 1])
def test_a_cut_is_gone_on_from(loopback: Any, url: str, target: Path, cut: int) -> None:
    loopback.cut_after, loopback.cuts = cut, 1
    download(url, target, sha256=SHA)
    assert target.read_bytes() == BODY
    assert loopback.requests == [("/w.pth", None), ("/w.pth", f"bytes={cut}-")]
    assert loopback.headers[1]["If-Range"] == '"v1"'
    assert names(target.parent) == ["w.pth"]


def test_the_next_run_goes_on(loopback: Any, url: str, target: Path) -> None:
    loopback.cut_after, loopback.cuts = 100_000, 4
    sentence = sentence_of(url, target)
    assert sentence == (
        f"'{url}' can't be downloaded (the connection ended after 400000 of 3000000 bytes; tried 4 times)"
        f"{by_hand(target)} 0.4 MiB of it are kept, and the next run goes on from there."
    )
    assert not target.exists()
    download(url, target)
    assert target.read_bytes() == BODY
    assert loopback.requests[-1] == ("/w.pth", "bytes=400000-")


def test_progress_renews_the_patience(loopback: Any, url: str, target: Path) -> None:
    loopback.files["/w.pth"] = BODY * 4
    loopback.cut_after, loopback.cuts = 1 << 20, 9
    download(url, target)
    assert target.read_bytes() == BODY * 4


@pytest.mark.parametrize(("ranges", "etag"), [(True, None), (False, '"v1"')])
def test_the_same_cut_again_and_again_is_no_progress(
    loopback: Any, url: str, target: Path, ranges: bool, etag: str | None
) -> None:
    loopback.files["/w.pth"] = BODY * 2
    loopback.ranges, loopback.etag = ranges, etag
    loopback.cut_after, loopback.cuts = len(BODY), 50
    sentence = sentence_of(url, target)
    assert "after 3000000 of 6000000 bytes; tried 4 times)" in sentence
    assert len(loopback.requests) == 4


@pytest.mark.parametrize("keep", ["no ranges", "no etag", "weak etag"])
def test_a_server_that_cant_go_on_starts_again(loopback: Any, url: str, target: Path, keep: str) -> None:
    loopback.ranges = keep != "no ranges"
    loopback.etag = {"no ranges": '"v1"', "no etag": None, "weak etag": 'W/"v1"'}[keep]
    loopback.cut_after, loopback.cuts = len(BODY) // 2, 1
    download(url, target)
    assert target.read_bytes() == BODY
    asked = f"bytes={len(BODY) // 2}-" if keep == "no ranges" else None
    assert loopback.requests == [("/w.pth", None), ("/w.pth", asked)]


def test_a_file_that_changed_is_not_pieced_together(loopback: Any, url: str, target: Path) -> None:
    loopback.cut_after, loopback.cuts = len(BODY) // 5, 4
    sentence_of(url, target)
    loopback.files["/w.pth"], loopback.etag = BODY[::-1], '"v2"'
    download(url, target)
    assert target.read_bytes() == BODY[::-1]


def test_a_part_of_another_address_is_not_used(loopback: Any, url: str, target: Path) -> None:
    loopback.cut_after, loopback.cuts = 1000, 4
    sentence_of(url, target)
    loopback.files["/other"] = BODY[::-1]
    download(f"{loopback.url}/other", target)
    assert target.read_bytes() == BODY[::-1]
    assert loopback.requests[-1] == ("/other", None)


@pytest.mark.parametrize("note", [b"", b"[]", b"\xff", b'{"url": 1}'])
def test_a_damaged_note_starts_again(loopback: Any, url: str, target: Path, note: bytes) -> None:
    target.parent.mkdir()
    target.with_name(".w.pth.part").write_bytes(b"x" * 5000)
    target.with_name(".w.pth.part.json").write_bytes(note)
    download(url, target)
    assert target.read_bytes() == BODY


def test_a_part_longer_than_the_file(loopback: Any, url: str, target: Path) -> None:
    loopback.cut_after, loopback.cuts = 1000, 4
    sentence_of(url, target)
    loopback.files["/w.pth"] = BODY[:500]
    download(url, target)
    assert target.read_bytes() == BODY[:500]


def test_another_part_than_asked_for(loopback: Any, url: str, target: Path) -> None:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        if number == 2:
            request.send_response(206)
            request.send_header("Content-Range", f"bytes 0-{len(BODY) - 1}/{len(BODY)}")
            request.send_header("Content-Length", str(len(BODY)))
            request.end_headers()
            request.wfile.write(BODY)
        else:
            loopback.serve(request)

    loopback.cut_after, loopback.cuts, loopback.answer = 1000, 1, answer
    download(url, target)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("sha256", ["0" * 64, "0" * 8])
def test_a_wrong_sum(url: str, target: Path, sha256: str) -> None:
    assert sentence_of(url, target, sha256=sha256) == (
        f"'{url}' can't be downloaded (its SHA-256 sum is {SHA}, not {sha256}: it isn't the file expected)"
        f"{by_hand(target)}"
    )
    assert names(target.parent) == []
    download(url, target, sha256=SHA[:8].upper())
    assert sha256_of(target) == SHA


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (401, 1), (410, 1), (500, 4), (503, 4)])
def test_a_server_that_refuses(loopback: Any, url: str, target: Path, status: int, requests: int) -> None:
    loopback.answer = lambda request, number: request.send_error(status, "Because")
    times = f"; tried {requests} times" if requests > 1 else ""
    assert sentence_of(url, target) == (
        f"'{url}' can't be downloaded (the server answers {status} Because{times}){by_hand(target)}"
    )
    assert len(loopback.requests) == requests
    assert names(target.parent) == []


def test_a_server_that_is_busy_for_a_while(loopback: Any, url: str, target: Path) -> None:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        if number < 3:
            request.send_error(503)
        else:
            loopback.serve(request)

    loopback.answer = answer
    download(url, target)
    assert target.read_bytes() == BODY


def test_no_server_and_no_network(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    started = time.monotonic()
    assert sentence_of("http://127.0.0.1:9/w.pth", target, name="detectron2://w.pth") == (
        "'detectron2://w.pth' can't be downloaded from 'http://127.0.0.1:9/w.pth' (Connection refused)"
        f"{by_hand(target)}"
    )
    unknown = sentence_of("http://no-such-host.invalid/w.pth", target)
    assert "(the name of the server can't be resolved; is there a network?)" in unknown
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "url", ["http://", "http://[", "http://127.0.0.1:x/w", "http://a b/w", "http://ü.invalid/ü"]
)
def test_addresses_that_arent(url: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    assert f"'{url}' can't be downloaded (" in sentence_of(url, target, delays=())


def test_a_server_that_falls_silent(loopback: Any, url: str, target: Path) -> None:
    release = threading.Event()

    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            request.send_response(200)
            request.send_header("Content-Length", str(len(BODY)))
            request.send_header("ETag", '"v1"')
            request.end_headers()
            request.wfile.write(BODY[:1000])
            release.wait(20)
        else:
            loopback.serve(request)

    loopback.answer = answer
    download(url, target, timeout=0.3)
    release.set()
    assert target.read_bytes() == BODY
    assert loopback.requests[1] == ("/w.pth", "bytes=1000-")


def test_a_body_in_chunks(loopback: Any, url: str, target: Path) -> None:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.send_header("ETag", '"v1"')
        request.end_headers()
        for begin in range(0, len(BODY), 700_000):
            part = BODY[begin : begin + 700_000]
            request.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        request.wfile.write(b"0\r\n\r\n" if number > 1 else b"")

    loopback.answer = answer
    loopback.ranges = False
    download(url, target)
    assert target.read_bytes() == BODY
    assert len(loopback.requests) == 2


@pytest.mark.parametrize("cut", [False, True])
def test_a_packed_body_is_unpacked(loopback: Any, url: str, target: Path, cut: bool) -> None:
    packed = gzip.compress(b"weights" * 300_000)

    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        body = packed[:-9] if cut and number == 1 else packed
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("ETag", '"v1"')
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    loopback.answer = answer
    download(url, target)
    assert target.read_bytes() == b"weights" * 300_000
    assert [asked for _, asked in loopback.requests] == [None] * (1 + cut)


def test_an_encoding_that_isnt_known(loopback: Any, url: str, target: Path) -> None:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        request.send_response(200)
        request.send_header("Content-Encoding", "br")
        request.end_headers()

    loopback.answer = answer
    assert "(the server sends it in the encoding 'br')" in sentence_of(url, target)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(loopback: Any, url: str, target: Path, status: int) -> None:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        if request.path == "/old":
            request.send_response(status)
            request.send_header("Location", "/w.pth")
            request.end_headers()
        else:
            loopback.serve(request)

    loopback.answer, loopback.cut_after, loopback.cuts = answer, 1000, 1
    download(f"{loopback.url}/old", target)
    assert target.read_bytes() == BODY
    assert loopback.requests[-1] == ("/w.pth", "bytes=1000-")


@pytest.mark.parametrize("goal", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "/old"])
def test_redirects_that_arent_followed(loopback: Any, target: Path, goal: str) -> None:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        request.send_response(302)
        request.send_header("Location", goal)
        request.end_headers()

    loopback.answer = answer
    sentence = sentence_of(f"{loopback.url}/old", target)
    assert "(the server answers 302 " in sentence
    assert "\n" not in sentence
    assert names(target.parent) == []


def test_a_full_disk(url: str, target: Path) -> None:
    script = """
        import resource, signal, sys
        from pathlib import Path
        from cardamage.errors import DownloadError
        from cardamage.utils.download import download
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        try:
            download(sys.argv[1], Path(sys.argv[2]))
        except DownloadError as error:
            print(error)
    """
    done = run(script, url, str(target))
    assert done.stdout == (
        f"'{url}' can't be downloaded from '{url}' to '{target}' (File too large): free space or change "
        "permissions there, set the environment variable FVCORE_CACHE to another folder, or download the "
        "file elsewhere and give its path.\n"
    ), done.stderr
    assert names(target.parent) == []


def test_a_file_that_cant_fit(loopback: Any, url: str, target: Path) -> None:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(10**18))
        request.end_headers()

    loopback.answer = answer
    assert "MiB don't fit: No space left on device)" in sentence_of(url, target)
    assert len(loopback.requests) == 1


def test_a_folder_that_cant_be_written(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    target = tmp_path / "file" / "w.pth"
    assert re.search(
        rf"to '{target}' \((Not a directory|File exists)\): free space", sentence_of(url, target)
    )


def test_a_folder_for_reading_alone(url: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert "(Permission denied): free space or change permissions" in sentence_of(url, tmp_path / "w.pth")
    tmp_path.chmod(0o700)


DOWNLOAD = """
    import sys
    from pathlib import Path
    from cardamage.utils.download import download
    download(sys.argv[1], Path(sys.argv[2]))
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(script, *arguments)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_processes_share_a_download(loopback: Any, url: str, target: Path) -> None:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        time.sleep(0.5)
        loopback.serve(request)

    loopback.answer = answer
    processes = [start(DOWNLOAD, url, str(target)) for _ in range(3)]
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err
        assert err == ""
    assert target.read_bytes() == BODY
    assert len(loopback.requests) == 1


def test_a_kill_leaves_what_can_be_gone_on_from(loopback: Any, url: str, target: Path) -> None:
    half = threading.Event()
    release = threading.Event()

    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        if number > 1:
            loopback.serve(request)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(BODY)))
        request.send_header("ETag", '"v1"')
        request.end_headers()
        request.wfile.write(BODY[: len(BODY) // 2])
        half.set()
        release.wait(20)

    loopback.answer = answer
    process = start(DOWNLOAD, url, str(target))
    assert half.wait(60)
    part = target.with_name(".w.pth.part")
    deadline = time.monotonic() + 20
    while not (part.is_file() and part.stat().st_size > 500_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    release.set()
    assert not target.exists()
    download(url, target)
    assert target.read_bytes() == BODY
    assert int(str(loopback.requests[1][1]).strip("bytes=-")) > 500_000
