"""Encoders by name: pooling, prefixes, normalization and pairs equal a direct computation by transformers.

The models are small ones with random weights, in the layout of the published repositories.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evalkit_retrievers.encoding.embedder import Embedder
from evalkit_retrievers.encoding.recipes import KNOWN, read_encoder
from evalkit_retrievers.index.dense import FaissRetriever
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

from evalkit.errors import SetupError
from evalkit.util.progress import Silent

WORDS = "aspirin gout trial of in patients query passage represent this sentence for searching : . ,"
DOCUMENTS = [("Aspirin in gout", "trial of aspirin in patients."), ("", "gout"), ("Gout", "aspirin, " * 99)]
QUERIES = ["aspirin for gout", "patients in this trial", "gout " * 99]


def make_bert(folder: Path, seed: int) -> Path:
    """A BERT of two layers, 32 wide, for 128 tokens."""
    folder.mkdir(parents=True)
    letters = [chr(c) for c in range(97, 123)]
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *WORDS,
        *letters,
        *(f"##{c}" for c in letters),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=128)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    model = BertModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "plain", 1)
    make_bert(home / "medcpt" / "MedCPT-Article-Encoder", 2)
    make_bert(home / "medcpt" / "MedCPT-Query-Encoder", 3)
    return home


def hidden(folder: Path, *texts: Any, **how: Any) -> tuple[np.ndarray, np.ndarray]:
    """Last hidden states (n, length, 32) and the mask (n, length), as the model cards compute them."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    encoded = tokenizer(
        *texts, padding=True, truncation=True, return_tensors="pt", **{"max_length": 128, **how}
    )
    with torch.no_grad():
        states = model(**encoded).last_hidden_state
    return states.numpy(), encoded["attention_mask"].numpy()


def mean(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def close(found: np.ndarray, expected: np.ndarray, backend: str) -> None:
    """Exactly by PyTorch; by OpenVINO as far as bfloat16 goes."""
    assert found.shape == expected.shape
    if backend == "torch":
        np.testing.assert_allclose(found, expected, atol=2e-5)
        return
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1), rtol=0.02)
    assert (unit(found) * unit(expected)).sum(1).min() > 0.998


@pytest.fixture(params=["torch", "openvino"])
def backend(request: Any) -> str:
    return str(request.param)


def test_contriever_is_the_mean_unnormalized(folders: Path, tmp_path: Path, backend: Any) -> None:
    made = Embedder(f"contriever@{folders / 'plain'}", cache=tmp_path, backend=backend)
    texts = [f"{title} {text}".strip() for title, text in DOCUMENTS]
    close(made.embed(DOCUMENTS), mean(*hidden(folders / "plain", texts)), backend)
    close(made.embed_queries(QUERIES), mean(*hidden(folders / "plain", QUERIES)), backend)
    assert (made.recipe.similarity, made.facts["recipe"]) == ("dot", "registry")


def test_bge_is_the_first_token_with_an_instruction_for_questions(
    folders: Path, tmp_path: Path, backend: Any
) -> None:
    made = Embedder(f"BAAI/bge-base-en-v1.5@{folders / 'plain'}", cache=tmp_path, backend=backend)
    instruction = "Represent this sentence for searching relevant passages: "
    expected = hidden(folders / "plain", [instruction + query for query in QUERIES])[0][:, 0]
    close(made.embed_queries(QUERIES), unit(expected), backend)
    close(made.embed(["gout"]), unit(hidden(folders / "plain", ["gout"])[0][:, 0]), backend)


def test_e5_has_a_prefix_for_each_side(folders: Path, tmp_path: Path, backend: Any) -> None:
    made = Embedder(f"e5-small-v2@{folders / 'plain'}", cache=tmp_path, backend=backend)
    close(
        made.embed_queries(QUERIES),
        unit(mean(*hidden(folders / "plain", [f"query: {query}" for query in QUERIES]))),
        backend,
    )
    close(
        made.embed(DOCUMENTS[:1]),
        unit(mean(*hidden(folders / "plain", ["passage: Aspirin in gout trial of aspirin in patients."]))),
        backend,
    )


def test_medcpt_has_two_encoders_and_takes_title_and_abstract_as_a_pair(
    folders: Path, tmp_path: Path, backend: Any
) -> None:
    made = Embedder(f"medcpt@{folders / 'medcpt'}", cache=tmp_path, backend=backend)
    articles = folders / "medcpt" / "MedCPT-Article-Encoder"
    pairs = [DOCUMENTS[0], DOCUMENTS[2]]
    expected = hidden(articles, [title for title, _ in pairs], [text for _, text in pairs])[0][:, 0]
    close(made.embed(pairs), expected, backend)
    close(made.embed([DOCUMENTS[1]]), hidden(articles, ["gout"])[0][:, 0], backend)
    queries = hidden(folders / "medcpt" / "MedCPT-Query-Encoder", QUERIES, max_length=64)[0][:, 0]
    close(made.embed_queries(QUERIES), queries, backend)
    assert made.identity["weights"] != made.identity["query_weights"]


def test_specter2_joins_title_and_abstract_by_the_separator(
    folders: Path, tmp_path: Path, backend: Any
) -> None:
    made = Embedder(f"specter2@{folders / 'plain'}", cache=tmp_path, backend=backend)
    expected = hidden(folders / "plain", ["Aspirin in gout[SEP]trial of aspirin in patients."])[0][:, 0]
    close(made.embed(DOCUMENTS[:1]), expected, backend)
    assert "without its adapters" in made.facts["note"]


def test_a_bare_model_says_what_is_assumed(folders: Path, tmp_path: Path) -> None:
    made = Embedder(str(folders / "plain"), cache=tmp_path)
    assert made.facts["recipe"] == "assumed"
    assert "mean pooling, no prefix, cosine" in made.facts["note"]
    assert made.identity["max_tokens"] == 128


def test_a_sentence_transformers_folder_brings_its_own_way(folders: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

    transformer = Transformer(str(folders / "plain"), max_seq_length=40)
    modules: dict[str, list[Any]] = {"cls": [transformer, Pooling(32, "cls")]}
    modules["dense"] = [transformer, Pooling(32, "mean"), Dense(32, 8)]
    for name, parts in modules.items():
        model = SentenceTransformer(modules=parts, prompts={"query": "query : "}, device="cpu")
        model.save_pretrained(str(tmp_path / name))
        made = Embedder(str(tmp_path / name), cache=tmp_path, backend="torch")
        assert made.facts["recipe"] == "model"
        texts = [f"{title} {text}".strip() for title, text in DOCUMENTS]
        normal: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False}
        np.testing.assert_allclose(made.embed(DOCUMENTS), model.encode(texts, **normal), atol=2e-5)
        asked = model.encode(QUERIES, prompt="query : ", **normal)
        np.testing.assert_allclose(made.embed_queries(QUERIES), asked, atol=2e-5)
    with pytest.raises(SetupError, match="backend=torch"):
        Embedder(str(tmp_path / "dense"), cache=tmp_path, backend="openvino")


def test_two_ways_of_encoding_share_no_vectors(folders: Path, tmp_path: Path) -> None:
    names = ("contriever", "bge-base-en-v1.5", "specter2")
    made = [Embedder(f"{name}@{folders / 'plain'}", cache=tmp_path).embed(["gout"])[0] for name in names]
    assert not any(np.allclose(a, b) for n, a in enumerate(made) for b in made[:n])


async def test_the_manifest_keeps_how_the_encoder_was_used(write: Any, folders: Path, tmp_path: Path) -> None:
    corpus = write([{"id": "a", "title": "Gout", "text": "aspirin"}, {"id": "b", "text": "patients"}])
    made = FaissRetriever(corpus, tmp_path / "i", progress=Silent(), encoder=f"medcpt@{folders / 'medcpt'}")
    (first, second) = await made.search("aspirin for gout", 2)
    queries = hidden(folders / "medcpt" / "MedCPT-Query-Encoder", ["aspirin for gout"])[0][:, 0]
    articles = folders / "medcpt" / "MedCPT-Article-Encoder"
    scores = {
        "a": hidden(articles, ["Gout"], ["aspirin"])[0][0, 0],
        "b": hidden(articles, ["patients"])[0][0, 0],
    }
    for passage in (first, second):
        assert passage.score == pytest.approx(float(queries[0] @ scores[passage.id]), rel=0.02)
    manifest = json.loads((tmp_path / "i" / "manifest.json").read_text())
    encoder = manifest["engine"]["encoder"]
    assert (encoder["pooling"], encoder["similarity"], encoder["join"]) == ("cls", "dot", "pair")
    assert manifest["facts"]["encoder"]["recipe"] == "registry"
    await made.close()


async def test_an_index_by_pytorch_is_searched_by_openvino(write: Any, folders: Path, tmp_path: Path) -> None:
    """What computes is recorded; it decides about the last digits only, so the index stays good."""
    corpus = write([{"id": "a", "text": "aspirin in gout"}, {"id": "b", "text": "trial of patients"}])
    encoder = f"e5-base-v2@{folders / 'plain'}"
    scores = {}
    for backend in ("torch", "openvino"):
        made = FaissRetriever(corpus, tmp_path / "i", progress=Silent(), encoder=encoder, backend=backend)
        scores[backend] = [(p.id, pytest.approx(p.score, abs=5e-3)) for p in await made.search("gout", 2)]
        assert made.describe()["facts"]["encoder"]["computed"] == "torch float32"
        await made.close()
    assert [id for id, _ in scores["torch"]] == [id for id, _ in scores["openvino"]]


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("MiniLM", "sentence-transformers/all-MiniLM-L6-v2"),
        ("ncbi/MedCPT-Query-Encoder", "ncbi/MedCPT-Article-Encoder"),
        ("facebook/contriever", "facebook/contriever"),
        ("BAAI/bge-large-en-v1.5", "BAAI/bge-large-en-v1.5"),
        ("openai:intfloat/e5-base-v2@http://127.0.0.1:1/v1", "intfloat/e5-base-v2"),
    ],
)
def test_an_encoder_is_known_by_several_names(text: str, repository: str) -> None:
    recipe = read_encoder(text).recipe
    assert recipe is not None
    assert recipe.repository == repository
    assert recipe in KNOWN.values()


def test_an_encoder_that_is_not_there_says_how_to_get_it(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match=r"hf download ncbi/MedCPT-Article-Encoder .*one FOLDER: medcpt@"):
        Embedder("medcpt")
    with pytest.raises(SetupError, match=r"plain/MedCPT-Article-Encoder: no such folder.*hf download ncbi"):
        Embedder(f"medcpt@{folders / 'plain'}")
