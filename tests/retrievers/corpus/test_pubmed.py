"""PubMed's XML, by records of the test's own that follow NLM's DTD."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evalkit_retrievers.corpus.corpus import Corpus
from evalkit_retrievers.index.bm25 import BM25Retriever

from evalkit.errors import CorpusError
from evalkit.util.progress import Silent

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN" "pubmed_250101.dtd">
<PubmedArticleSet>
"""
FULL = """
<PubmedArticle>
  <MedlineCitation Status="MEDLINE" Owner="NLM">
    <PMID Version="2">101</PMID>
    <Article PubModel="Print">
      <Journal><JournalIssue><PubDate><MedlineDate>1998 Dec-1999 Jan</MedlineDate></PubDate>
        </JournalIssue><Title>Annals of Invented Medicine</Title></Journal>
      <ArticleTitle>Zinc <i>versus</i> placebo in β-thalassaemia &amp; colds.</ArticleTitle>
      <Abstract>
        <AbstractText Label="OBJECTIVE">To test zinc at 10<sup>2</sup> mg.</AbstractText>
        <AbstractText Label="RESULTS" NlmCategory="RESULTS">Colds were
          shorter (p &lt; 0.01).</AbstractText>
        <CopyrightInformation>Copyright nobody.</CopyrightInformation>
      </Abstract>
      <AuthorList CompleteYN="Y"><Author><LastName>Doe</LastName></Author></AuthorList>
      <Language>eng</Language>
      <PublicationTypeList>
        <PublicationType UI="D016449">Randomized Controlled Trial</PublicationType>
        <PublicationType UI="D016441">Retracted Publication</PublicationType>
      </PublicationTypeList>
      <ArticleDate DateType="Electronic"><Year>1997</Year></ArticleDate>
    </Article>
    <CommentsCorrectionsList>
      <CommentsCorrections RefType="RetractionIn"><RefSource>Ann. 2001</RefSource><PMID Version="1">205</PMID>
        </CommentsCorrections>
      <CommentsCorrections RefType="Cites"><RefSource>B. 1990</RefSource><PMID Version="1">7</PMID>
        </CommentsCorrections>
      <CommentsCorrections RefType="ErratumIn"><RefSource>Ann. 2000</RefSource></CommentsCorrections>
    </CommentsCorrectionsList>
    <MeshHeadingList>
      <MeshHeading><DescriptorName UI="D015032" MajorTopicYN="Y">Zinc</DescriptorName>
        <QualifierName UI="Q000627" MajorTopicYN="N">therapeutic use</QualifierName></MeshHeading>
      <MeshHeading><DescriptorName UI="D003139" MajorTopicYN="N">Common Cold</DescriptorName></MeshHeading>
    </MeshHeadingList>
    <OtherAbstract Type="Publisher" Language="fre"><AbstractText>En français.</AbstractText></OtherAbstract>
  </MedlineCitation>
  <PubmedData><ReferenceList><Reference>
    <ArticleIdList><ArticleId IdType="pubmed">7</ArticleId></ArticleIdList></Reference></ReferenceList>
  </PubmedData>
</PubmedArticle>
"""


def article(pmid: int, title: str, version: int = 1, abstract: str = "", year: int = 2000) -> str:
    body = f"<Abstract><AbstractText>{abstract}</AbstractText></Abstract>" if abstract else ""
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article><Journal>'
        f"<JournalIssue><PubDate><Year>{year}</Year></PubDate></JournalIssue></Journal>"
        f"<ArticleTitle>{title}</ArticleTitle>{body}</Article></MedlineCitation></PubmedArticle>\n"
    )


def deleted(*pmids: int) -> str:
    names = "".join(f'<PMID Version="1">{pmid}</PMID>' for pmid in pmids)
    return f"<DeleteCitation>{names}</DeleteCitation>"


def put(path: Path, *records: str) -> Path:
    raw = (HEAD + "".join(records) + "</PubmedArticleSet>\n").encode()
    path.write_bytes(gzip.compress(raw, 1) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("name", ["pubmed25n0001.xml", "pubmed25n0001.xml.gz"])
def test_a_record_with_everything(tmp_path: Path, name: str) -> None:
    corpus = Corpus(put(tmp_path / name, FULL, article(102, "", abstract="No title.")))
    first, second = corpus
    assert (first.id, first.title) == ("101", "Zinc versus placebo in β-thalassaemia & colds.")
    assert first.text == "To test zinc at 10^2 mg. Colds were shorter (p < 0.01)."
    assert first.metadata == {
        "sections": [
            ["OBJECTIVE", "To test zinc at 10^2 mg."],
            ["RESULTS", "Colds were shorter (p < 0.01)."],
        ],
        "mesh": ["Zinc", "Common Cold"],
        "year": 1998,
        "types": ["Randomized Controlled Trial", "Retracted Publication"],
        "retracted": True,
        "retracted_by": ["205"],
        "corrections": [["RetractionIn", "205"], ["ErratumIn", ""]],
    }
    assert (second.title, second.text, second.metadata) == ("[Not Available].", "No title.", {"year": 2000})
    assert (corpus.retracted, corpus.layout.name) == (1, "pubmed")
    assert corpus.get(["102", "101"]) == [second, first]


def test_the_last_word_on_a_record_counts(tmp_path: Path) -> None:
    put(
        tmp_path / "n0001.xml.gz",
        article(1, "one"),
        article(2, "two, second version", version=2),
        article(2, "two"),
        article(3, "three"),
        article(4, "four"),
    )
    put(tmp_path / "n0002.xml.gz", article(1, "one, revised"), deleted(3, 4, 999))
    put(tmp_path / "n0003.xml.gz", article(4, "four is back"))
    assert [(d.id, d.title) for d in Corpus(tmp_path)] == [
        ("2", "two, second version"),
        ("1", "one, revised"),
        ("4", "four is back"),
    ]


async def test_retractions_reach_who_searches(tmp_path: Path) -> None:
    (tmp_path / "xml").mkdir()
    put(tmp_path / "xml" / "n1.xml.gz", FULL, article(102, "Vitamin C for colds."))
    made = BM25Retriever(tmp_path / "xml", tmp_path / "index", progress=Silent(), chunk_sections=True)
    (best,) = await made.search("shorter", 1)
    await made.close()
    assert (best.id, best.document, best.metadata["section"]) == ("101#1", "101", "RESULTS")
    assert best.metadata["retracted"] is True
    facts = made.describe()
    assert facts["corpus"]["layout"] == "pubmed"
    assert (facts["n_documents"], facts["n_passages"], facts["n_retracted"]) == (2, 3, 1)


def test_a_search_on_the_command_line_marks_retracted_articles(evalkit: Any) -> None:
    put(evalkit.folder / "n1.xml.gz", FULL, article(102, "Vitamin C for colds."))
    evalkit("index", "build", "n1.xml.gz", "--out", "index", "--retriever", "bm25")
    found = evalkit("index", "search", "index", "zinc or vitamin C for colds?").stdout
    assert "Zinc versus placebo in β-thalassaemia & colds.  [RETRACTED]" in found
    assert found.count("[RETRACTED]") == 1
    assert evalkit.json("index", "info", "index")["manifest"]["n_retracted"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD + article(1, "one") + "<PubmedArticle><Medl", r"n\.xml:\d+: broken XML"),
        ("<html><body/></html>", "no PubMed XML: it begins with <html>"),
        (
            HEAD + "<PubmedArticle><MedlineCitation/></PubmedArticle></PubmedArticleSet>",
            "a <PubmedArticle> without a PMID",
        ),
        (HEAD + "</PubmedArticleSet>", "no documents in it"),
        ("", r"n\.xml:1: broken XML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "n.xml").write_text(content)
    with pytest.raises(CorpusError, match=message):
        len(Corpus(tmp_path / "n.xml"))


def test_a_damaged_gzip_is_an_error_and_leaves_nothing_behind(tmp_path: Path, cache: Path) -> None:
    path = put(tmp_path / "n.xml.gz", *(article(n, "A title") for n in range(99)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match="damaged gzip"):
        len(Corpus(path))
    assert not list((cache / "corpora").glob(".reading-*"))


READ = """
import resource, sys
from pathlib import Path
from evalkit_retrievers.corpus.pubmed import current
n = sum(1 for _ in current([Path(sys.argv[1])], Path(sys.argv[2])))
print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_thirty_thousand_records_take_no_more_memory_than_three_thousand(tmp_path: Path) -> None:
    """Beyond the PMIDs themselves (some 6 MB for 30,000, with what is known of each)."""

    def records(n: int) -> Iterator[str]:
        words = "patients were randomly assigned to treatment or control and followed for a year. " * 15
        return (article(pmid, f"Trial number {pmid}", abstract=f"{pmid} {words}") for pmid in range(n))

    def peak(n: int) -> float:
        path = put(tmp_path / f"{n}.xml.gz", *records(n))
        done: Any = subprocess.run(
            [sys.executable, "-c", READ, path, tmp_path], capture_output=True, text=True, check=True
        )
        read, kilobytes = map(int, done.stdout.split())
        assert read == n
        return kilobytes / 1024

    assert peak(30_000) - peak(3_000) < 20  # the text of 30,000 is 40 MB
