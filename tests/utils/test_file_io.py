"""Paths and addresses through PathManager: where files land, what is found again, what is checked."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest

from cardamage.errors import CardamageError, DownloadError
from cardamage.utils.file_io import PathHandler, PathManager, cache_folder

BODY = b"weights" * 1000
SHA = hashlib.sha256(BODY).hexdigest()


def sentence_of(path: str) -> str:
    with pytest.raises(DownloadError) as caught:
        PathManager.get_local_path(path)
    assert isinstance(caught.value, (CardamageError, OSError))
    return str(caught.value)


def test_local_paths(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    PathManager.mkdirs(str(folder))
    with PathManager.open(str(folder / "x.txt"), "w") as file:
        file.write("text")
    assert PathManager.ls(str(folder)) == ["x.txt"]
    assert PathManager.isfile(str(folder / "x.txt"))
    assert PathManager.isdir(str(folder))
    assert PathManager.exists(str(folder))
    assert PathManager.get_local_path(str(folder / "x.txt")) == str(folder / "x.txt")
    PathManager.rm(str(folder / "x.txt"))
    assert not PathManager.exists(str(folder / "x.txt"))


def test_a_handler_of_ones_own(tmp_path: Path) -> None:
    class Handler(PathHandler):
        def _get_supported_prefixes(self) -> list[str]:
            return ["shelf://"]

        def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
            return str(tmp_path / path.removeprefix("shelf://"))

    PathManager.register_handler(Handler(), allow_override=True)
    assert PathManager.get_local_path("shelf://x") == str(tmp_path / "x")


def test_files_lie_where_iopath_puts_them(
    loopback: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iopath.common.file_io import HTTPURLHandler
    from iopath.common.file_io import PathManager as Other

    theirs = Other()
    theirs.register_handler(HTTPURLHandler())
    for path in ("/detectron2/ImageNetPretrained/MSRA/R-50.pkl", "/model.pth", "/a/model.pth?version=2"):
        loopback.files[path] = BODY
        local = PathManager.get_local_path(loopback.url + path)
        assert local == theirs.get_local_path(loopback.url + path)
        assert local.startswith(str(cache))
    assert len(loopback.requests) == 3
    loopback.files["/theirs.pth"] = BODY
    theirs.get_local_path(f"{loopback.url}/theirs.pth")
    with PathManager.open(f"{loopback.url}/theirs.pth", "rb") as file:
        assert file.read() == BODY
    assert len(loopback.requests) == 4
    monkeypatch.delenv("FVCORE_CACHE")
    assert cache_folder() == Path.home() / ".torch/iopath_cache"


def test_open_reads_and_never_writes(loopback: Any, cache: Path) -> None:
    loopback.files["/x.txt"] = "größe".encode()
    with PathManager.open(f"{loopback.url}/x.txt", encoding="utf-8") as file:
        assert file.read() == "größe"
    assert PathManager.isfile(f"{loopback.url}/x.txt")
    assert not PathManager.exists(f"{loopback.url}/none.txt")
    assert not PathManager.isdir(f"{loopback.url}/x.txt")
    with pytest.raises(DownloadError, match="can't be opened with mode 'w'"):
        PathManager.open(f"{loopback.url}/x.txt", "w")
    with pytest.raises(ValueError, match="Unused arguments"):
        PathManager.get_local_path(f"{loopback.url}/x.txt", unknown=1)


def test_one_path_on_two_hosts_is_two_files(loopback: Any, cache: Path) -> None:
    loopback.files["/model_final.pth"] = b"one"
    one = PathManager.get_local_path(f"{loopback.url}/model_final.pth")
    loopback.files["/model_final.pth"] = b"two"
    other_host = loopback.url.replace("127.0.0.1", "localhost")
    two = PathManager.get_local_path(f"{other_host}/model_final.pth")
    assert (Path(one).read_bytes(), Path(two).read_bytes()) == (b"one", b"two")
    assert PathManager.get_local_path(f"{loopback.url}/model_final.pth") == one
    assert PathManager.get_local_path(f"{other_host}/model_final.pth") == two
    assert len(loopback.requests) == 2


def test_a_sum_that_is_told(loopback: Any, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    loopback.files["/w.pth"] = b"other"
    url = f"{loopback.url}/w.pth"
    assert "isn't the file expected" in sentence_of(f"{url}#sha256={SHA}")
    assert not (cache / "w.pth").exists()
    PathManager.get_local_path(url)
    loopback.files["/w.pth"] = BODY
    assert Path(PathManager.get_local_path(url)).read_bytes() == b"other"
    local = PathManager.get_local_path(f"{url}#sha256={SHA[:10]}")
    assert Path(local).read_bytes() == BODY
    before = len(loopback.requests)
    PathManager.get_local_path(f"{url}#sha256={SHA}")
    assert len(loopback.requests) == before
    for wrong in ("#sha256=", "#sha256=xyz", "#sha256=12345"):
        assert sentence_of(url + wrong) == (
            f"'{url}{wrong}' ends with no SHA-256 sum: write #sha256= and 8 to 64 digits of it."
        )


@pytest.mark.parametrize(
    ("name", "checked"),
    [
        ("r50-0676ba61.pth", True),
        ("r50-20230405.pth", False),
        ("model_final_a54504.pkl", False),
        ("a-b.pth", False),
    ],
)
def test_a_sum_in_the_name(loopback: Any, cache: Path, name: str, checked: bool) -> None:
    loopback.files[f"/{name}"] = BODY
    if checked:
        assert f"(its SHA-256 sum is {SHA}, not 0676ba61:" in sentence_of(f"{loopback.url}/{name}")
    else:
        PathManager.get_local_path(f"{loopback.url}/{name}")
    loopback.files[f"/r-{SHA[:8]}.pth"] = BODY
    PathManager.get_local_path(f"{loopback.url}/r-{SHA[:8]}.pth")


@pytest.mark.parametrize("path", ["", "/", "/folder/", "/../../x", "/a/../../x", "/x\0"])
def test_addresses_that_name_no_file(path: str, cache: Path) -> None:
    url = f"http://127.0.0.1:9{path}"
    assert sentence_of(url) == f"'{url}' names no file that can be downloaded: check the address."
    assert not cache.exists()


def test_long_names_and_odd_queries(loopback: Any, cache: Path) -> None:
    for path in (f"/{'x' * 240}.pth", "/w.pth?key=" + "y" * 400, "/w.pth?a=b/../../c"):
        loopback.files[path] = path.encode()
        local = Path(PathManager.get_local_path(loopback.url + path))
        assert local.read_bytes() == path.encode()
        assert local.parent == cache
        assert PathManager.get_local_path(loopback.url + path) == str(local)


def test_the_model_zoo_and_its_mirror(loopback: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", f"{loopback.url}/mirror/")
    loopback.files["/mirror/detectron2/1/model_final.pkl"] = BODY
    local = PathManager.get_local_path("detectron2://1/model_final.pkl")
    assert local == str(cache / "detectron2/1/model_final.pkl")
    # The address itself, with the mirror gone: it is the same file.
    monkeypatch.delenv("CARDAMAGE_WEIGHTS_MIRROR")
    assert PathManager.get_local_path("https://dl.fbaipublicfiles.com/detectron2/1/model_final.pkl") == local
    assert PathManager.get_local_path("cardamage://1/model_final.pkl") == local
    assert len(loopback.requests) == 1
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", "/mnt/mirror")
    assert sentence_of("detectron2://2.pkl") == (
        "CARDAMAGE_WEIGHTS_MIRROR is '/mnt/mirror': set it to an https:// address or unset it."
    )


def test_a_file_put_there_by_hand(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    sentence = sentence_of("detectron2://1/model_final.pkl")
    place = Path(sentence.partition("put it at '")[2].rstrip(".'"))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(BODY)
    assert PathManager.get_local_path("detectron2://1/model_final.pkl") == str(place)


def test_torchvisions_weights(
    loopback: Any, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", loopback.url)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for path in ("torchvision://resnet50", "torchvision://resnet50/IMAGENET1K_V2"):
        assert "'torchvision://resnet50" in sentence_of(path)
    assert [path for path, _ in loopback.requests] == [
        "/models/resnet50-0676ba61.pth",
        "/models/resnet50-11ad3fa6.pth",
    ]
    hub = tmp_path / "torch/hub/checkpoints/resnet50-0676ba61.pth"
    hub.parent.mkdir(parents=True)
    hub.write_bytes(BODY)
    assert PathManager.get_local_path("torchvision://resnet50") == str(hub)
    assert sentence_of("torchvision://resnet51") == (
        "'torchvision://resnet51' names no model of torchvision, such as torchvision://resnet50."
    )
    assert sentence_of("torchvision://resnet18/V9") == (
        "'torchvision://resnet18/V9': torchvision's weights of resnet18 are IMAGENET1K_V1."
    )


def test_onedrive(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(url: str, target: Path, **options: Any) -> None:
        asked.append(url)
        raise DownloadError("no network")

    monkeypatch.setattr("cardamage.utils.file_io.download", note)
    assert sentence_of("https://1drv.ms/u/s!Aus8VCZ_C_33gQbJsUPTIj3rQu99") == "no network"
    assert asked == [
        "https://api.onedrive.com/v1.0/shares/u!aHR0cHM6Ly8xZHJ2Lm1zL3UvcyFBdXM4VkNaX0NfMzNnUWJKc1VQVElqM3JRdTk5"
        "/root/content"
    ]


def test_a_folder_for_reading_alone_serves_what_is_in_it(
    loopback: Any, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir()
    (cache / "w.pth").write_bytes(BODY)
    cache.chmod(0o500)
    with caplog.at_level(logging.WARNING):
        assert PathManager.get_local_path(f"{loopback.url}/w.pth") == str(cache / "w.pth")
    assert [path.name for path in cache.iterdir()] == ["w.pth"]
    assert not caplog.records
    cache.chmod(0o700)
