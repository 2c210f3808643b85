"""The store keeps what it is given: round trips, resume, paging, claims, and clear errors."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from array import array
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.errors import StoreError, UsageError
from evalkit.requests import describe
from evalkit.store import open_store, schema
from evalkit.store.database import Database
from evalkit.store.migrate import _upgrade
from evalkit.store.records import MetricInfo, RunSpec, SampleRecord, Tokens
from evalkit.store.store import Store
from evalkit.types import (
    Answer,
    Estimate,
    Image,
    Message,
    Passage,
    Request,
    Response,
    Sample,
    Score,
    Status,
    Text,
    Usage,
)


def spec(run_id: str = "r1", **changes: object) -> RunSpec:
    fields: dict[str, object] = {
        "id": run_id,
        "task": "toy[k=5]",
        "path": "task_toy.py",
        "model": "small",
        "model_spec": "baseline:small",
        "metrics": (MetricInfo("f1"), MetricInfo("words", high=None, higher_is_better=None)),
    }
    return RunSpec(**(fields | changes))  # type: ignore[arg-type]


def record(sequence: int, **changes: object) -> SampleRecord:
    fields: dict[str, object] = {
        "sequence": sequence,
        "sample": Sample(f"d{sequence}", f"Question {sequence}?", "yes"),
        "status": Status.OK,
        "answer": Answer(Response(text=f"Reply {sequence}")),
        "scores": (Score("f1", sequence / 10), Score("words", 2.0)),
        "calls": 1,
    }
    return SampleRecord(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "evalkit.db") as opened:
        yield opened


def test_a_whole_record_comes_back_as_it_was(store: Store) -> None:
    whole = SampleRecord(
        sequence=7,
        sample=Sample(
            "pmid:1",
            "Does it help?",
            ("yes", "maybe"),
            {"1": 2, "3": 0},
            ("A", "B"),
            cluster="patient 4",
            slices={"year": "2020"},
            metadata={"journal": "J", "nested": [1, {"a": None}]},
        ),
        repeat=2,
        status=Status.TRUNCATED,
        answer=Answer(
            Response(text="It\0 does 🩺", usage=Usage(10, 5), logprobs=(-0.1, -math.inf)),
            passages=(Passage("p", "text", "title", 0.25, "d", {"page": 3}),),
            choice=1,
        ),
        requests=({"messages": [{"role": "user", "content": "Does it help?"}], "temperature": 0.0},),
        scores=(Score("broken", None, "division by zero"), Score("f1", 1 / 3), Score("recall@5", None)),
        error=None,
        tokens=Tokens(10, 5, 3, 1),
        calls=2,
        calls_from_cache=1,
        latency_s=0.125,
    )
    store.runs.begin(spec())
    store.samples.write("r1", [whole])
    assert store.samples.get("r1", 7) == whole
    assert list(store.samples.records("r1")) == [whole]
    assert store.samples.slices("r1") == {"year=2020": array("q", [7])}
    assert store.samples.names("r1") == {7: ("pmid:1", 2)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(codec="utf-8"), max_size=50),
    value=st.floats(allow_nan=False),
    metadata=st.dictionaries(
        st.text(st.characters(codec="utf-8")), st.floats() | st.integers(-(2**63), 2**63)
    ),
)
def test_text_and_numbers_survive(store: Store, text: str, value: float, metadata: dict[str, float]) -> None:
    if not store.runs.find():
        store.runs.begin(spec())
    one = record(0, sample=Sample("d", text, text), error=None, scores=(Score("f1", value),))
    one_answer = Answer(Response(text=text, latency_s=value), metadata=metadata)
    store.samples.write(
        "r1",
        [SampleRecord(sequence=0, sample=one.sample, status=Status.OK, answer=one_answer, scores=one.scores)],
    )
    back = store.samples.get("r1", 0)
    assert back.sample == one.sample
    assert back.scores[0].value == value
    assert back.answer is not None
    assert back.answer.reply == text
    assert repr(back.answer.metadata) == repr(metadata)  # repr: NaN is not equal to itself


def test_half_a_surrogate_pair_in_a_reply_does_not_lose_the_sample(store: Store) -> None:
    store.runs.begin(spec())
    store.samples.write("r1", [record(0, answer=Answer(Response(text="half \ud83d pair")))])
    answer = store.samples.get("r1", 0).answer
    assert answer is not None
    assert answer.reply == "half \ufffd pair"


def test_a_value_that_is_no_number_is_a_failure_of_the_metric(store: Store) -> None:
    store.runs.begin(spec())
    store.samples.write(
        "r1", [record(0, scores=(Score("f1", math.nan),)), record(1, scores=(Score("f1", None),))]
    )
    assert store.samples.scores("r1") == {
        "f1": [(0, "d0", None)]
    }  # sample 1: the metric does not apply to it
    assert "NaN" in (store.samples.get("r1", 0).scores[0].error or "")


def test_what_cannot_be_stored_is_named(store: Store) -> None:
    store.runs.begin(spec())
    with pytest.raises(StoreError, match="a object"):
        store.samples.write("r1", [record(0, sample=Sample("d", "q", metadata={"x": object()}))])
    assert store.samples.counts("r1") == {}


def test_images_are_stored_once_and_come_back_with_their_bytes(store: Store, tmp_path: Path) -> None:
    pixels = tmp_path / "scan.png"
    pixels.write_bytes(b"\x89PNG" + bytes(5000))
    image, few_shot = Image.open(pixels), Image.of(b"another")
    request = describe(Request(messages=(Message("user", (few_shot, image, Text("look"))),)))
    store.runs.begin(spec())
    rows = [
        record(
            i,
            sample=Sample(f"d{i}", "What is it?", images=(image,)),
            requests=(request,),
            images=(few_shot, image),
        )
        for i in range(5)
    ]
    store.samples.write("r1", rows)
    pixels.unlink()
    assert store.samples.get("r1", 3).sample.images[0].read() == b"\x89PNG" + bytes(5000)
    part = store.samples.get("r1", 3).requests[0]["messages"][0]["content"][0]
    assert part == {"type": "image", "sha256": few_shot.sha256, "media_type": "image/png"}
    with store.database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.blob)) == 2


def test_one_data_set_is_stored_once_for_many_runs(store: Store) -> None:
    for name in ("r1", "r2"):
        store.runs.begin(spec(name))
        store.samples.write(name, [record(i) for i in range(20)])
    with store.database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.dataset_sample)) == 20


def test_writing_twice_changes_nothing(store: Store) -> None:
    store.runs.begin(spec())
    rows = [record(i) for i in range(10)]
    store.samples.write("r1", rows)
    store.samples.write("r1", rows[3:8])
    assert list(store.samples.records("r1")) == rows


def test_a_resumed_error_takes_the_place_of_the_error(store: Store) -> None:
    store.runs.begin(spec())
    failed = record(1, status=Status.ERROR, answer=None, scores=(), error="ServerFailed: 500", calls=0)
    store.samples.write("r1", [record(0), failed])
    assert store.samples.done("r1") == {0}
    assert store.samples.counts("r1") == {"error": 1, "ok": 1}
    store.runs.claim("r1")
    store.samples.write("r1", [record(1)])
    assert store.samples.done("r1") == {0, 1}
    assert store.samples.counts("r1") == {"ok": 2}
    assert store.samples.scores("r1")["f1"] == [(0, "d0", 0.0), (1, "d1", 0.1)]


def test_the_same_sample_at_two_places_is_refused_whole(store: Store) -> None:
    store.runs.begin(spec())
    with pytest.raises(StoreError, match="same sample twice"):
        store.samples.write("r1", [record(0), record(1, sample=record(0).sample)])
    assert store.samples.counts("r1") == {}
    store.samples.write("r1", [record(0), record(1, sample=record(0).sample, repeat=1)])
    assert store.samples.counts("r1") == {"ok": 2}


def test_rescoring_replaces_every_score_of_a_sample(store: Store) -> None:
    store.runs.begin(spec())
    store.samples.write("r1", [record(i) for i in range(3)])
    for row in store.samples.records("r1"):  # written to while it is read
        store.samples.replace_scores("r1", {row.sequence: [Score("f2", 0.5)]})
    assert store.samples.scores("r1") == {"f2": [(0, "d0", 0.5), (1, "d1", 0.5), (2, "d2", 0.5)]}
    store.runs.set_metrics("r1", [MetricInfo("f2")], ["f2"])
    assert [m.name for m in store.runs.get("r1").spec.metrics] == ["f2"]


def test_records_by_sequence(store: Store) -> None:
    store.runs.begin(spec())
    store.samples.write("r1", [record(i) for i in range(250)])
    assert [r.sequence for r in store.samples.records("r1")] == list(range(250))
    assert [r.sequence for r in store.samples.records("r1", sequences=[240, 3, 999])] == [3, 240]


def test_a_finished_run_knows_its_totals_and_estimates(store: Store) -> None:
    store.runs.begin(spec(provenance={"git": "abc"}, tags=("biomedical",), n_expected=2, dataset="f00d"))
    tokens = Tokens(10, 5, 2, 1)
    store.samples.write(
        "r1", [record(0, tokens=tokens, calls=2, calls_from_cache=1), record(1, tokens=tokens)]
    )
    assert store.runs.get("r1").tokens == Tokens(20, 10, 4, 2)  # counted while it goes on
    assert not store.runs.get("r1").is_complete
    estimates = {
        "words": Estimate(2.0, 0.0, (2.0, 2.0), 2),
        "f1": Estimate(0.5, 0.1, (0.3, 0.7), 2, "wilson", 2, 0.9, (0.2, 0.8)),
    }
    store.runs.finish("r1", "complete", estimates, 12.5)
    run = store.runs.get("r1")
    assert run.metrics == estimates
    assert list(run.metrics) == ["f1", "words"]  # in the order of the task's metrics
    assert (run.status, run.n, run.wall_s, run.calls, run.calls_from_cache) == ("complete", 2, 12.5, 3, 1)
    assert (run.spec.n_expected, run.spec.dataset, run.spec.provenance) == (2, "f00d", {"git": "abc"})
    assert run.tokens == Tokens(20, 10, 4, 2)


def test_an_estimate_of_nothing_is_not_a_number(store: Store) -> None:
    store.runs.begin(spec())
    nan = math.nan
    store.runs.finish("r1", "complete", {"f1": Estimate(nan, nan, (nan, nan), 0)}, 0.0)
    assert math.isnan(store.runs.get("r1").metrics["f1"].value)


def test_runs_are_found_by_prefix_and_filter(store: Store) -> None:
    for name, task, model in [("aa1", "toy[k=5]", "m1"), ("aa2", "toy[k=9]", "m2"), ("b_1", "toyota", "m1")]:
        store.runs.begin(spec(name, task=task, model=model))
    store.runs.finish("aa2", "complete", {}, 1.0)
    assert store.runs.get("b").id == "b_1"
    assert store.runs.get("latest").id == "b_1"
    assert [r.id for r in store.runs.find()] == ["b_1", "aa2", "aa1"]
    assert [r.id for r in store.runs.find(task="toy")] == ["aa2", "aa1"]
    assert [r.id for r in store.runs.find(task="toy[k=9]", model="m2", status="complete")] == ["aa2"]
    assert [r.id for r in store.runs.find(limit=1)] == ["b_1"]
    with pytest.raises(UsageError, match="aa2, aa1"):
        store.runs.get("aa")
    with pytest.raises(UsageError, match="Did you mean 'aa1'"):
        store.runs.get("xaa1")
    for nothing in ("", "%", "b%"):
        with pytest.raises(UsageError):
            store.runs.get(nothing)


def test_an_empty_store_says_how_to_fill_it(store: Store) -> None:
    with pytest.raises(UsageError, match="evalkit run"):
        store.runs.get("latest")


def test_a_run_id_is_used_once(store: Store) -> None:
    store.runs.begin(spec())
    with pytest.raises(StoreError, match="evalkit resume r1"):
        store.runs.begin(spec())
    with pytest.raises(StoreError, match="no run 'r2'"):
        store.samples.write("r2", [record(0)])


def _structure(database: Database) -> dict[str, object]:
    """Return the columns, keys and indexes of each table, as SQLite understands them."""
    with database.reading() as connection:

        def rows(pragma: str, name: str) -> list[tuple[object, ...]]:
            return [tuple(row) for row in connection.exec_driver_sql(f"PRAGMA {pragma}('{name}')").all()]

        tables = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all()
        return {
            name: (
                rows("table_info", name),
                rows("foreign_key_list", name),
                [(index[1:], rows("index_info", str(index[1]))) for index in rows("index_list", name)],
                "WITHOUT ROWID" in sql,
            )
            for name, sql in tables
        }


def test_migrations_make_exactly_what_a_new_store_is(store: Store, tmp_path: Path) -> None:
    migrated = Database(sa.URL.create("sqlite", database=str(tmp_path / "migrated.db")))
    with migrated.writing() as connection:
        _upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    assert _structure(store.database) == _structure(migrated)
    migrated.close()


def test_alembic_is_imported_only_for_an_older_store(store: Store, tmp_path: Path) -> None:
    code = (
        "import sys; from evalkit.store import open_store; "
        "[open_store(path) for path in sys.argv[1:]]; print('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(store.name), str(tmp_path / "new.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_store_from_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "evalkit.db"
    open_store(path).close()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '0042'")
    with pytest.raises(StoreError, match=r"version 0042.*pip install --upgrade evalkit"):
        open_store(path)


def test_files_that_are_no_store(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to have a header of its own\n" * 20)
    with pytest.raises(StoreError, match="not an evalkit store"):
        open_store(text)
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as raw, raw:
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(StoreError, match="bookmarks"):
        open_store(other)
    with pytest.raises(StoreError, match="not a directory"):
        open_store(tmp_path)
    with pytest.raises(StoreError, match="write it as postgresql://") as refused:
        open_store("postgres://me:secret@server/scores")
    assert "secret" not in str(refused.value)
    with pytest.raises(StoreError, match="directory cannot be made"):
        open_store(text / "below" / "evalkit.db")
    with pytest.raises(StoreError, match="no store yet"):
        open_store(tmp_path / "absent.db", create=False)
    assert not (tmp_path / "absent.db").exists()
    with pytest.raises(StoreError, match="no driver"):
        open_store("nosuchdb://somewhere/evalkit")


def test_the_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVALKIT_STORE", raising=False)
    open_store().close()
    assert (tmp_path / ".evalkit" / "evalkit.db").exists()
    monkeypatch.setenv("EVALKIT_STORE", f"sqlite:///{tmp_path}/named.db")
    open_store().close()
    assert (tmp_path / "named.db").exists()


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    url = sa.make_url("postgresql+nosuchdriver://u:secret@localhost/db")
    with pytest.raises(StoreError) as caught:
        open_store(url.render_as_string(hide_password=False))
    assert "secret" not in str(caught.value)


def test_estimates_by_slice_come_with_the_run_and_are_replaced_with_it(store: Store) -> None:
    store.runs.begin(spec())
    store.samples.write("r1", [record(0), record(1)])
    whole, part = Estimate(0.5, 0.1, (0.3, 0.7), 2), Estimate(0.25, 0.1, (0.2, 0.3), 1, "t", 1, 0.9)
    slices = {"year=2020": {"words": whole, "f1": part}, "kind=open": {"f1": part}}
    store.runs.finish("r1", "complete", {"f1": whole}, 1.0, slices)
    run = store.runs.get("r1")
    assert run.metrics == {"f1": whole}
    assert run.slices == slices
    assert list(run.slices["year=2020"]) == ["f1", "words"]  # in the order of the task's metrics
    assert store.runs.find()[0].slices == {}
    assert store.samples.names("r1") == {n: (record(n).sample.id, 0) for n in (0, 1)}
    store.runs.finish("r1", "complete", {"f1": whole}, 1.0)
    assert store.runs.get("r1").slices == {}


def test_lengths_of_earlier_replies_are_known_by_sample(store: Store) -> None:
    store.runs.begin(spec())
    store.samples.write(spec().id, [record(0, calls=2, tokens=Tokens(completion=30)), record(1, calls=0)])
    assert store.samples.lengths(spec().id) == {record(0).sample.id: 15.0}


def test_a_store_with_token_counts_that_cannot_be_ones_opens(store: Store) -> None:
    """An older evalkit stored what servers reported: the sum of such counts fits into no number."""
    store.runs.begin(spec())
    usage = Usage(prompt_tokens=5)
    msgspec.structs.force_setattr(usage, "completion_tokens", 2**62)
    bad = record(0, answer=Answer(Response(text="x", usage=usage)), tokens=Tokens(5, 3), calls=1)
    store.samples.write("r1", [bad, *(record(n, tokens=Tokens(5, 3), calls=1) for n in range(1, 5))])
    with store.database.writing() as connection:
        for sequence, count in enumerate((2**62, 2**62, 2**62, -4)):
            columns = {"completion_tokens": count, "reasoning_tokens": count}
            connection.execute(
                schema.sample.update().where(schema.sample.c.sequence == sequence).values(columns)
            )
    assert store.runs.get("r1").tokens == Tokens(25, 3)
    assert store.samples.lengths("r1") == {"d4": 3.0}
    assert [r.tokens.completion for r in store.samples.records("r1")] == [0, 0, 0, 0, 3]
    assert store.samples.get("r1", 0).answer.response.usage == Usage(prompt_tokens=5)
    store.runs.finish("r1", "complete", {}, 1.0)
    assert store.runs.get("r1").tokens == Tokens(25, 3)


def test_counts_that_a_column_cannot_hold_are_stored_as_the_highest(store: Store) -> None:
    store.runs.begin(spec())
    store.samples.write("r1", [record(0, tokens=Tokens(2**40, 2), calls=1)])
    assert store.runs.get("r1").tokens == Tokens(2**31 - 1, 2)
