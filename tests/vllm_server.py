"""A server on 127.0.0.1 that follows the part of vLLM's protocol that is used, and samples a real (tiny) model.

Statuses, fields and messages are those of vLLM 0.19.1 (`vllm/entrypoints/serve/lora`, `.../openai/models/serving.py`,
`.../openai/completion/protocol.py`).
"""

from __future__ import annotations

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from hrlaif.nn.adapters import load_adapter
from hrlaif.nn.backbone import Backbone, load_causal, placement
from hrlaif.nn.generate import Settings, generate

FIELDS = {
    "model", "prompt", "max_tokens", "temperature", "seed", "top_p", "top_k", "min_p", "repetition_penalty",
    "ignore_eos", "stop_token_ids", "logprobs", "return_token_ids",
}  # fmt: skip


class VllmLike:
    """Serves the model in `base` as `tiny`, and adapters that it is told to load.

    `quirks` change what it does: `no runtime` (adapters cannot be loaded), `blind` (it does not see the folder),
    `stale` (all adapters are the first one), `old` (no token ids), `silent` (no log-probabilities), `no stop token`,
    `plain logprobs` (at temperature 1, vLLM's default), `forgets` (restarted after the first answer), `stalls`,
    `ends` (at the fourth adapter), `renames`, `short` (a context of 20 tokens), `locked`. The first `failures` calls
    fail with 503.
    """

    def __init__(self, base: Path, *quirks: str, failures: int = 0) -> None:
        place = placement("cpu", "float32")
        self.base = load_causal(str(base), place)
        self.quirks, self.failures = set(quirks), failures
        self.adapters: dict[str, Backbone] = {}
        self.loaded: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.resting = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any] | None) -> None:
                status, reply = outer.answer(self.path, body)
                raw = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            """Does not mind who hangs up."""

            def handle_error(self, *_: object) -> None:
                """Say nothing."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> VllmLike:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resting.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        """Status and reply."""
        with self._lock:
            if self.failures:
                self.failures -= 1
                return 503, "busy"
            if "ends" in self.quirks and len(self.loaded) == 4:
                return 500, "gone"
            if "locked" in self.quirks:
                return 401, {"error": "Unauthorized"}
            if path == "/v1/models":
                context = 20 if "short" in self.quirks else 2048
                cards = [{"id": "tiny", "max_model_len": context}, *({"id": name} for name in self.adapters)]
                return 200, {"object": "list", "data": cards}
            assert body is not None
            if path == "/v1/completions":
                return self._complete(body)
            if "no runtime" not in self.quirks and path == "/v1/load_lora_adapter":
                return self._load(**body)
            if "no runtime" not in self.quirks and path == "/v1/unload_lora_adapter":
                found = self.adapters.pop(body["lora_name"], None)
                return (200, "Success") if found else _error(404, "The lora adapter cannot be found.")
            return _error(404, "Not Found")

    def _load(self, lora_name: str, lora_path: str) -> tuple[int, Any]:
        if lora_name in self.loaded:
            return _error(400, f"The lora adapter '{lora_name}' has already been loaded.")
        if "blind" in self.quirks or not (Path(lora_path) / "adapter_config.json").exists():
            return _error(404, f"Loading lora {lora_name} failed: No adapter found for {lora_path}")
        self.loaded.append(lora_name)
        first = next(iter(self.adapters.values()), None)
        if "stale" in self.quirks and len(self.loaded) > 1:
            self.adapters[lora_name] = self.first
            return 200, "Success"
        assert first is None, "the adapter before was not unloaded"
        backbone = copy.copy(self.base)
        backbone.model = copy.deepcopy(self.base.model)
        load_adapter(backbone, Path(lora_path))
        self.adapters[lora_name] = self.first = backbone
        return 200, "Success"

    def _complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        assert body.keys() == FIELDS, "vLLM leaves a field out that it does not know, and so must nobody else"
        self.bodies.append(body)
        if body["model"] not in self.adapters:
            return _error(404, f"The model `{body['model']}` does not exist.")
        if "stalls" in self.quirks:
            self._lock.release()
            self.resting.wait(30)
            self._lock.acquire()
        backbone = self.adapters[body["model"]]
        backbone.chat.stop_ids = frozenset(body["stop_token_ids"])
        settings = Settings(body["temperature"], body["max_tokens"])
        drawn = generate(backbone, [body["prompt"]], [body["seed"]], settings)[0]
        logprobs = list(drawn.logprobs)
        if "plain logprobs" in self.quirks:
            logprobs = _plain(backbone, body["prompt"], drawn.tokens)
        cut = -1 if "no stop token" in self.quirks and drawn.finished else None
        choice = {
            "index": 0,
            "text": backbone.chat.text(drawn.tokens),
            "logprobs": None if "silent" in self.quirks else {"token_logprobs": logprobs[:cut]},
            "finish_reason": "stop" if drawn.finished else "length",
            "stop_reason": drawn.tokens[-1] if drawn.finished else None,
            "token_ids": None if "old" in self.quirks else list(drawn.tokens[:cut]),
            "prompt_token_ids": body["prompt"],
        }
        if "forgets" in self.quirks:
            self.adapters.clear()
        return 200, {"model": "tiny" if "renames" in self.quirks else body["model"], "choices": [choice]}


@torch.no_grad()
def _plain(backbone: Backbone, prompt: list[int], tokens: tuple[int, ...]) -> list[float]:
    logits_TV = backbone.model(input_ids=torch.tensor([[*prompt, *tokens[:-1]]])).logits[0, len(prompt) - 1 :]
    logp_TV = torch.log_softmax(logits_TV.float(), dim=-1)
    return logp_TV.gather(-1, torch.tensor(tokens)[:, None])[:, 0].tolist()  # type: ignore[no-any-return]


def _error(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": "Error", "param": None, "code": status}}
