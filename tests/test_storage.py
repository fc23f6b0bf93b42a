"""Tests of prompts from addresses and exports to them: in memory, over HTTP, in an archive, and on an S3 server."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hrlaif import storage
from hrlaif.artifacts import file_hash
from hrlaif.config import PromptSource, PromptsSection
from hrlaif.errors import ConfigError, DataError
from hrlaif.prompts import load
from hrlaif.prompts.load import input_files
from hrlaif.prompts.sources import read

fsspec = pytest.importorskip("fsspec", reason="needs the data extra: pip install 'hrlaif[data]'")
pyarrow = pytest.importorskip("pyarrow", reason="needs the data extra: pip install 'hrlaif[data]'")
zstandard = pytest.importorskip("zstandard", reason="needs the data extra: pip install 'hrlaif[data]'")


def rows(first: int) -> list[dict[str, str]]:
    return [{"id": f"q{n}", "prompt": f"What is {n} + {n}?", "reference": str(2 * n)} for n in range(first, first + 3)]


def shards(folder: Path) -> Path:
    """Two shards of JSON Lines, two of Parquet, one of CSV."""
    import pyarrow.parquet

    folder.mkdir()
    for number in (0, 1):
        text = "".join(json.dumps(row) + "\n" for row in rows(3 * number))
        (folder / f"p-{number}.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(text.encode()))
        (folder / f"p-{number}.jsonl").write_text(text)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows(3 * number)), folder / f"p-{number}.parquet")
    lines = ["id,prompt,reference", *(",".join(row.values()) for row in rows(0) + rows(3))]
    (folder / "p.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[str]:
    """The shards in the memory of this process."""
    system = fsspec.filesystem("memory")
    for file in shards(tmp_path / "shards").iterdir():
        system.put_file(str(file), f"/bucket/{file.name}")
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


@pytest.fixture
def over_http(tmp_path: Path) -> Iterator[str]:
    """The shards behind a server that lists its folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(shards(tmp_path / "shards")))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def in_archive(tmp_path: Path) -> str:
    with zipfile.ZipFile(tmp_path / "shards.zip", "w") as archive:
        for file in shards(tmp_path / "shards").iterdir():
            archive.write(file, file.name)
    return f"zip://{{}}::{tmp_path / 'shards.zip'}"


@pytest.fixture
def on_disk(tmp_path: Path) -> str:
    return str(shards(tmp_path / "shards"))


@pytest.fixture(scope="module")
def on_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The shards in a bucket of a real server."""
    if any(importlib.util.find_spec(name) is None for name in ("s3fs", "moto", "flask")):
        pytest.skip("needs a client and a server of S3: pip install s3fs 'moto[server]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    keys = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "something", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = pytest.MonkeyPatch()
    for name, value in {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", **keys}.items():
        environment.setenv(name, value)
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", port]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.1)
        system = fsspec.filesystem("s3")
        system.mkdir("bucket")
        for file in shards(tmp_path_factory.mktemp("s3") / "shards").iterdir():
            system.put_file(str(file), f"bucket/{file.name}")
        yield "s3://bucket"
    finally:
        environment.undo()
        server.kill()
        server.wait()


@pytest.mark.parametrize("pattern", ["p-*.jsonl.zst", "p-*.parquet", "p-*.jsonl", "p.csv"])
@pytest.mark.parametrize("place", ["on_disk", "in_memory", "over_http", "in_archive", "on_s3"])
def test_shards_are_one_source_in_the_order_of_their_names_wherever_they_lie(
    request: pytest.FixtureRequest, place: str, pattern: str
) -> None:
    where = request.getfixturevalue(place)
    source = where.format(pattern) if "{}" in where else f"{where}/{pattern}"
    section = PromptsSection(sources=(PromptSource(path=source),), evaluation_share=0.5)
    prompts = load(section, seed=0)
    assert [(prompt.id, prompt.reference) for prompt in prompts] == [(f"q{n}", str(2 * n)) for n in range(6)]
    assert len({file_hash(file) for file in input_files(section)}) == (1 if pattern == "p.csv" else 2)
    last = read(source)[-1].where
    assert pattern.replace("*", "1") in last
    assert last.endswith({"p-*.parquet": " row 3", "p.csv": ":7"}.get(pattern, ":3"))
    assert last.partition("/")[0] == source.partition("/")[0]


def test_a_pattern_is_the_files_name_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run [1]"
    folder.mkdir()
    (folder / "p-1.jsonl").write_text('{"prompt": "a"}\n')
    assert [row.values for row in read(folder / "p-*.jsonl")] == [{"prompt": "a"}]


def test_other_content_at_the_same_address_is_another_input(in_memory: str) -> None:
    section = PromptsSection(sources=(PromptSource(path=f"{in_memory}/p-*.jsonl"),))
    before = [file_hash(file) for file in input_files(section)]
    assert [file_hash(file) for file in input_files(section)] == before
    fsspec.filesystem("memory").pipe("/bucket/p-1.jsonl", b'{"prompt": "new"}\n')
    after = [file_hash(file) for file in input_files(section)]
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)


def test_on_s3_the_listing_says_what_the_content_is(on_s3: str) -> None:
    (one, other) = storage.found(f"{on_s3}/p-*.jsonl")
    assert file_hash(one).startswith("ETag ")
    assert file_hash(one) != file_hash(other)
    with pytest.raises(DataError, match=r"^s3://nowhere/p\.jsonl: "):
        read("s3://nowhere/p.jsonl")


def test_a_bad_row_is_named_with_its_address(in_memory: str) -> None:
    fsspec.filesystem("memory").pipe("/bucket/bad.jsonl", b'{"prompt": "a"}\noops\n')
    with pytest.raises(DataError, match=r"memory://bucket/bad\.jsonl:2: not valid JSON"):
        read(f"{in_memory}/bad.jsonl")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://bucket/none.jsonl", r"^memory://bucket/none\.jsonl: no such file\.$"),
        ("memory://bucket/none-*.jsonl", r"^memory://bucket/none-\*\.jsonl: no file matches\.$"),
        ("memory://bucket", r"^memory://bucket: a folder\. Name its files: memory://bucket/\*\.jsonl\.zst$"),
        ("nosuch://bucket/a.jsonl", r"^nosuch://bucket/a\.jsonl: .*Protocol not known: nosuch"),
        ("http://127.0.0.1:9/a.jsonl", r"^http://127\.0\.0\.1:9/a\.jsonl: (no such file|cannot be read)"),
    ],
)
def test_what_cannot_be_read_is_one_clear_message(in_memory: str, address: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(address)


def test_a_protocol_whose_package_is_missing_names_the_package() -> None:
    protocol, package = next(
        (one, package)
        for one, package in (("gs", "gcsfs"), ("abfs", "adlfs"), ("oci", "ocifs"), ("dropbox", "dropboxdrivefs"))
        if importlib.util.find_spec(package) is None
    )
    with pytest.raises(DataError, match=rf"{protocol}:// needs a package that is not installed: .*{package}"):
        read(f"{protocol}://bucket/a.jsonl")


def filled(place: str) -> None:
    with storage.written(place) as folder:
        (folder / "deep").mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        (folder / "deep" / "pairs.jsonl").write_text("{}\n")


@pytest.mark.parametrize("place", ["memory://out/run", "on_s3"])
def test_what_is_written_arrives_whole_and_nothing_is_overwritten(request: pytest.FixtureRequest, place: str) -> None:
    place = f"{request.getfixturevalue(place)}/out/run" if place == "on_s3" else place
    filled(place)
    system, path = fsspec.core.url_to_fs(place)
    assert sorted(one.partition("/run/")[2] for one in system.find(path)) == ["deep/pairs.jsonl", "manifest.json"]
    with pytest.raises(ConfigError, match="holds files already, and nothing is overwritten"):
        filled(place)
    system.rm(path, recursive=True)


def test_a_failure_on_the_way_sends_nothing() -> None:
    def failing() -> None:
        with storage.written("memory://out/failed") as folder:
            folder.mkdir()
            (folder / "pairs.jsonl").write_text("{}\n")
            raise DataError("no pairs")

    with pytest.raises(DataError, match="no pairs"):
        failing()
    assert fsspec.filesystem("memory").find("/out/failed") == []
