import asyncio
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp", reason="needs the bundled extra: pip install 'hrlaif[bundled]'")

from hrlaif.errors import ModelError
from hrlaif.models import bundled
from hrlaif.models.base import ChatRequest
from hrlaif.models.http import HttpModel
from hrlaif.types import Message

NAME, VERSION = bundled.WHEEL.split("==")


def wheel(folder: Path, content: bytes) -> None:
    """A wheel of the right name and version that holds this instead of the model."""
    stem = NAME.replace("-", "_")
    info = f"{stem}-{VERSION}.dist-info"
    with zipfile.ZipFile(folder / f"{stem}-{VERSION}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{stem}/model.gguf", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def failed_fetch(folder: Path, cache: Path) -> str:
    """What a first use says where pip looks for wheels in this folder only."""
    with pytest.raises(ModelError) as caught:
        bundled.gguf_path(cache, pip_options=["--isolated", "--no-index", f"--find-links={folder}"])
    return str(caught.value)


def test_a_damaged_file_is_fetched_again_and_a_download_that_fails_says_why_and_what_to_do(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"{bundled.NAME}.Q4_1.gguf").write_bytes(b"half a model")
    shown = failed_fetch(tmp_path, cache)
    assert shown.startswith(f"the bundled model {bundled.NAME} is not in {cache} and could not be downloaded with pip")
    assert "No matching distribution found" in shown
    assert "set model.name and judge.url" in shown
    assert "\n" not in shown


def test_a_model_with_another_checksum_is_not_used_and_not_kept(tmp_path: Path) -> None:
    wheel(tmp_path, b"another model")
    shown = failed_fetch(tmp_path, tmp_path / "cache")
    # printf "another model" | sha256sum
    seen = "93dc44381b5260808085f4dd99e5d439f52b86f2938527faf30bd72eb21afbc1"
    assert shown.startswith(f"{bundled.WHEEL}: the model inside has sha256 {seen}, expected {bundled.GGUF_SHA256}.")
    assert "It is not used." in shown
    assert not (tmp_path / "cache").exists()


def test_the_cache_folder_is_the_chosen_one_the_users_or_the_default() -> None:
    assert bundled.cache_folder({"HRLAIF_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert bundled.cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/hrlaif")
    assert bundled.cache_folder({}) == Path.home() / ".cache" / "hrlaif"


def test_a_file_that_is_no_model_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF?" * 100)
    with (
        pytest.raises(ModelError, match=r"broken\.gguf: llama\.cpp cannot serve this model"),
        bundled.serve(tmp_path / "broken.gguf", threads=1, slots=1),
    ):
        pass


def test_the_bundled_model_answers_through_its_own_server_with_probabilities() -> None:
    path = bundled.cache_folder() / f"{bundled.NAME}.Q4_1.gguf"
    if not path.exists():
        pytest.skip("the bundled model is not in the cache yet; `make setup` fetches it")
    question = ChatRequest((Message("user", "Reply with one letter only: A or B."),), max_tokens=4, top_logprobs=20)

    with bundled.serve(threads=1, slots=1) as endpoint:

        async def ask() -> tuple[str, int, int]:
            async with HttpModel(endpoint, ledger=None) as model:
                reply = await model.chat(question)
                return model.name, len(reply.top_logprobs), reply.cost.prompt_tokens

        name, positions, prompt_tokens = asyncio.run(ask())
    assert name == bundled.NAME
    assert 1 <= positions <= 4
    assert prompt_tokens > 10
