"""``evalkit index``: build, search, info, verify."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from evalkit.cli.options import json_option, quiet_option
from evalkit.cli.output import counted, echo, print_json
from evalkit.errors import UsageError
from evalkit.protocols import Check, Retriever
from evalkit.types import Passage
from evalkit.util import progress
from evalkit.util.name_values import parse_name_values

MANIFEST = "manifest.json"


class _Form(msgspec.Struct):
    """What ``info`` reads of a manifest, whatever retriever wrote it."""

    kind: str
    corpus: dict[str, Any] = {}
    options: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    notes: list[str] = []


@click.group()
def index() -> None:
    """Build, search and check retrieval indexes."""


@index.command()
@click.argument("corpus", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the index.")
@click.option(
    "--retriever",
    default="faiss",
    show_default=True,
    help="faiss, bm25, hybrid or a plug-in, with options: 'bm25?k1=1.2'.",
)
@click.option("--encoder", help="A sentence-transformers model: a name or a folder.")
@click.option("--chunk-words", type=click.IntRange(min=1), help="Cut documents into passages of N words.")
@click.option("--chunk-tokens", type=click.IntRange(min=1), help="Cut into N tokens of --tokenizer.")
@click.option("--chunk-sentences", type=click.IntRange(min=1), help="Cut into N sentences.")
@click.option("--chunk-sections", is_flag=True, default=None, help="End passages where a section ends.")
@click.option("--overlap", type=click.IntRange(min=0), help="Let neighbouring passages share N sentences.")
@click.option("--tokenizer", help="A model's name or folder [default: that of the default encoder].")
@click.option("--title-field", metavar="NAME", help="The field with the titles [default: title].")
@click.option("--text-field", metavar="NAME", help="The field with the texts [default: text].")
@click.option("--deduplicate", is_flag=True, default=None, help="Leave out copies of a passage.")
@json_option
@quiet_option
def build(corpus: Path, out: Path, retriever: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Build an index of CORPUS.

    CORPUS is a JSONL file (or .jsonl.gz) with id, title and text; a folder in the layout of BEIR or MedRAG;
    Parquet; PubMed XML; or hf:NAME, a data set of the Hugging Face hub.
    """
    from evalkit.rag.retrievers import read_search, retriever_class

    name, own = read_search(retriever)
    given = own | {option: value for option, value in options.items() if value is not None}
    made = retriever_class(name)(corpus, out, progress=progress.for_stream(quiet=quiet), **given)
    asyncio.run(_prepare(made))
    facts = made.describe()
    if as_json:
        print_json(facts)
    else:
        documents = counted(facts["n_documents"], "document")
        echo(f"Indexed {documents} as {counted(facts['n_passages'], 'passage')} in {out}.")
        if copies := facts.get("n_copies"):
            outcome = "left out" if facts["options"].get("deduplicate") else "--deduplicate leaves them out"
            subject = f"{counted(copies, 'passage')} {'has' if copies == 1 else 'have'}"
            echo(f"{subject} title and text of another: {outcome}.")
        for line in _build_facts(facts.get("facts", {})):
            echo(line)
        echo(f'Search it with: evalkit index search {shlex.quote(str(out))} "your question" -k 5')


def _build_facts(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what a build measured of the encoder and the index, in words."""
    if encoder := facts.get("encoder"):
        how = {
            "registry": "as its authors use it",
            "model": "as its files say",
            "assumed": "by assumed rules",
        }
        note = f": {encoder['note']}" if encoder.get("note") else ""
        yield f"Encoder ({encoder['computed']}) used {how[encoder['recipe']]}{note}."
    if index := facts.get("index"):
        effort = next((f", {name} {index[name]}" for name in ("nprobe", "efSearch") if name in index), "")
        yield (
            f"Index: {index['family']} ({index['factory']}{effort}), {index['bytes'] / 2**20:,.1f} MiB; "
            f"recall@10 against exact search {index['recall@10']:.3f} ({index['recall_queries']} passages)."
        )


async def _prepare(retriever: Retriever) -> None:
    try:
        await retriever.prepare()
    finally:
        await retriever.close()


@index.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("question")
@click.option("-k", type=click.IntRange(min=1), default=5, show_default=True, help="Number of passages.")
@click.option(
    "-p",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the search: rerank=MODEL, mmr=0.7 …",
)
@json_option
@quiet_option
def search(
    directory: Path, question: str, k: int, params: tuple[str, ...], as_json: bool, quiet: bool
) -> None:
    """Search the index in DIRECTORY for passages that answer QUESTION."""
    from evalkit.rag.retrievers import retriever_class

    if not question.strip():
        raise UsageError("the question is empty: evalkit index search DIRECTORY 'what to look for'")
    options = {name: values[-1] for name, values in parse_name_values(params, "-p").items()}
    shown = progress.for_stream(quiet=quiet)
    made = retriever_class(_kind(directory)).open(directory, progress=shown, **options)
    passages = asyncio.run(_search(made, question, k))
    if not passages:
        echo("evalkit: nothing found: " + _why_nothing(made), err=True)
    if as_json:
        print_json({"query": question, "passages": passages})
        return
    for rank, passage in enumerate(passages, 1):
        title = f"{passage.title}  [RETRACTED]" if passage.metadata.get("retracted") else passage.title
        echo(f"{rank}. {passage.id}  {passage.score:.4f}  {title}", bold=True)
        echo(f"   {passage.text[:300]}{'…' if len(passage.text) > 300 else ''}")


def _why_nothing(retriever: Retriever) -> str:
    if retriever.describe().get("kind") == "bm25":
        return "no passage shares a word with the question (words such as 'the' do not count)"
    return "no passage matches the question"


async def _search(retriever: Retriever, question: str, k: int) -> list[Passage]:
    try:
        return list(await retriever.search(question, k))
    finally:
        await retriever.close()


@index.command()
@click.argument("directory", type=click.Path(path_type=Path))
@json_option
def info(directory: Path, as_json: bool) -> None:
    """Describe an index: corpus, passages, encoder, size on disk, recall."""
    manifest = _manifest(directory)
    files = {file.name: file.stat().st_size for file in sorted(directory.iterdir()) if file.is_file()}
    if as_json:
        print_json(
            {"directory": directory, "manifest": manifest, "files": files, "bytes": sum(files.values())}
        )
        return
    for name, value in _in_words(manifest, files):
        echo(name.ljust(12), bold=True, nl=False)
        echo(value)


def _in_words(manifest: dict[str, Any], files: dict[str, int]) -> Iterator[tuple[str, str]]:
    corpus, options = manifest.get("corpus", {}), manifest.get("options", {})
    yield "kind", manifest["kind"]
    yield (
        "corpus",
        f"{corpus.get('path')} ({corpus.get('layout', 'jsonl')}, {str(corpus.get('fingerprint'))[:12]})",
    )
    for what in ("documents", "empty", "repeated", "retracted", "passages", "copies"):
        if manifest.get(f"n_{what}"):
            yield what, f"{manifest[f'n_{what}']:,}"
    yield "options", ", ".join(f"{name}={value}" for name, value in options.items() if value) or "none"
    for part, facts in (*manifest.get("engine", {}).items(), *manifest.get("facts", {}).items()):
        yield part, _flat(facts)
    for note in manifest.get("notes", ()):
        yield "note", note
    yield "size", f"{sum(files.values()) / 2**20:,.1f} MiB in {len(files)} files"


def _flat(facts: Any) -> str:
    """Return facts on one line; a hash is shortened."""
    if isinstance(facts, dict):
        return ", ".join(f"{name} {_flat(value)}" for name, value in facts.items() if value not in (None, ""))
    text = str(facts)
    return text[:12] if len(text) == 64 and text.isalnum() else text


@index.command()
@click.argument("directory", type=click.Path(path_type=Path))
@json_option
@quiet_option
def verify(directory: Path, as_json: bool, quiet: bool) -> None:
    """Check an index: checksums, counts, stored vectors.

    A few passages are embedded again and compared with their stored vectors. Exit code 1: a check failed.
    Exit code 2: the corpus has changed since the index was built.
    """
    from evalkit.rag.retrievers import retriever_class

    made = retriever_class(_kind(directory)).open(directory, progress=progress.for_stream(quiet=quiet))
    checks = asyncio.run(_verify(made))
    if checks is None:
        raise UsageError(f"{directory}: this kind of retriever, {_kind(directory)}, cannot be verified")
    bad = [check for check in checks if check.ok is False]
    if as_json:
        print_json({"directory": directory, "ok": not bad, "checks": checks})
    else:
        for check in checks:
            mark = {True: "ok", False: "WRONG", None: "–"}[check.ok]
            echo(f"{mark.ljust(7)}{check.name}: {check.found}")
        if bad:
            echo(f"Delete {directory} and build the index again.", err=True)
    sys.exit(1 if bad else 0)


async def _verify(retriever: Retriever) -> list[Check] | None:
    try:
        return await retriever.verify()
    finally:
        await retriever.close()


def _kind(directory: Path) -> str:
    """Return the kind of an index, from its manifest."""
    return str(_manifest(directory)["kind"])


def _manifest(directory: Path) -> dict[str, Any]:
    try:
        manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=dict[str, Any])
        msgspec.convert(manifest, _Form)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{directory} holds no index ({MANIFEST} is missing). "
            f"Build one with: evalkit index build CORPUS --out {shlex.quote(str(directory))}"
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise UsageError(f"{directory / MANIFEST} cannot be read: {error}. Build the index again.") from None
    return manifest
