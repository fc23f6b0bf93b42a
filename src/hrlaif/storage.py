"""Files at any address that fsspec reaches (`s3://`, `gs://`, `hdfs://`, `https://`, `zip://a.jsonl::s3://...`).

Which endpoint and which credentials is each file system's own affair: its environment variables and files, as for its
other users. Nothing of that is in a configuration.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from hrlaif.errors import ConfigError, DataError, HrlaifError

# What a listing says of a file that changes when its content does. Anything else (times, sizes) may stay.
VERSIONS = ("ETag", "etag", "md5Hash", "generation", "Content-MD5")


@dataclass(frozen=True, slots=True)
class Remote:
    """One file at an address: what readers need of a `Path`."""

    url: str
    system: Any
    path: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        """The name's last ending, with its dot."""
        return PurePosixPath(self.path).suffix

    def open(self, mode: str = "rb", **options: Any) -> Any:
        """A stream of its content, seekable, as from `Path.open`."""
        return self.system.open(self.path, mode, **options)

    def version(self) -> str | None:
        """What stands for its content without reading it; None where the file system has nothing such."""
        with reaching(self.url):
            known = self.system.info(self.path)
        return next((f"{name} {known[name]}" for name in VERSIONS if known.get(name)), None)


File = Path | Remote


def is_url(place: str) -> bool:
    """True for an address, False for a path of this machine."""
    return "://" in place


def secret_in(place: str) -> str:
    """Why an address must not stand in a configuration, "" where it may."""
    if not is_url(place):
        return ""
    # One address may hold others: zip://a.jsonl::https://host/a.zip.
    parts = [urlsplit(part) for part in place.split("::")]
    if any(part.password is not None for part in parts):
        return "holds a password; put it into the environment of the file system's package instead"
    if any(part.scheme in ("http", "https") and part.query for part in parts):
        return "holds a query, which may be a key; name an address that ends with the file's name"
    return ""


def found(url: str) -> list[Remote]:
    """The file at an address, or, where it has a `*`, all files that match it, in the order of their names.

    Raises:
        DataError: There is none, it is a folder, it cannot be reached, or its file system's package is not installed.
    """
    system, path = _opened(url)
    with reaching(url):
        paths = sorted(system.glob(path)) if "*" in path else [path]
        if paths == [path] and system.info(path)["type"] != "file":
            raise DataError(f"{url}: a folder. Name its files: {url.rstrip('/')}/*.jsonl.zst")
        files = [Remote(url if one == path else system.unstrip_protocol(one), system, one) for one in paths]
    if not files:
        raise DataError(f"{url}: no file matches.")
    return files


@contextlib.contextmanager
def reaching(place: str) -> Iterator[None]:
    """One clear message for whatever a file system raises while the block uses an address; nothing for a path."""
    try:
        yield
    except FileNotFoundError as error:
        if not is_url(place):
            raise
        raise DataError(f"{place}: no such file.") from error
    except Exception as error:
        # Every file system has errors of its own, and so has the client beneath it.
        if isinstance(error, HrlaifError) or not is_url(place):
            raise
        raise DataError(
            f"{place}: cannot be read or written ({type(error).__name__}: {error}). Endpoint and credentials come from "
            "the environment of the file system's own package."
        ) from error


@contextlib.contextmanager
def written(place: str) -> Iterator[Path]:
    """A folder of this machine to fill: the place itself, or for an address one that is then sent there whole.

    Files go in the order of their names, `manifest.json` last: where it lies, all lies.

    Raises:
        ConfigError: There is something at the address already.
        DataError: It cannot be reached, or its file system's package is not installed.
    """
    if not is_url(place):
        yield Path(place)
        return
    system, path = _opened(place)
    with reaching(place):
        held = system.find(path)
    if held:
        raise ConfigError(f"--out {place}: holds files already, and nothing is overwritten. Name a new folder.")
    with tempfile.TemporaryDirectory(prefix="hrlaif-out-") as name:
        folder = Path(name) / "out"
        yield folder
        files = [file for file in folder.rglob("*") if file.is_file()]
        with reaching(place):
            for file in sorted(files, key=lambda file: (file.name == "manifest.json", file)):
                system.put_file(str(file), f"{path.rstrip('/')}/{file.relative_to(folder).as_posix()}")


def _opened(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    protocol = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise DataError(f"{url}: an address needs fsspec. Run: pip install 'hrlaif[data]'") from error
    try:
        with reaching(url):
            system, path = url_to_fs(url)
    except DataError as error:
        if isinstance(error.__cause__, ImportError):
            raise DataError(f"{url}: {protocol}:// needs a package that is not installed: {error.__cause__}") from error
        raise
    return system, str(path)
