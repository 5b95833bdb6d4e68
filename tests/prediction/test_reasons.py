"""Why this risk: what is left out, what that changes, and that it is kept by content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrdb.database import Database
from ehrdb.embedding import refresh, refresh_all, registry
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder import Encoded, in_order
from ehrdb.encoder.lines import LineEncoder
from ehrdb.errors import EncoderError, NotFound
from ehrdb.prediction.parts import Part, list_parts, markdown_parts, without
from ehrdb.prediction.reasons import Effect, Explanation, explain_risk
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, add_head, day, write

MARKDOWN = """# Electronic Healthcare Record

## Patient Demographics

- Patient age: 40

## Past Medical Visits

- Inpatient Visit from 2024-01-01
- Outpatient Visit from 2023-12-01

## Detailed Past Medical Visits (most recent first)

### Inpatient Visit from 2024-01-01

#### Conditions

- Sepsis

#### Medications

- Aspirin

### Outpatient Visit from 2023-12-01

#### Conditions

- Cough"""


def test_items_sections_and_visits_of_markdown_are_left_out() -> None:
    lines = MARKDOWN.split("\n")
    found = {(part.kind, part.name): [lines[n - 1] for n in part.lines] for part in markdown_parts(lines, 3)}
    assert [lines[part.lines[0] - 1] for part in markdown_parts(lines, 3) if part.kind == "line"] == [
        "- Patient age: 40",
        "- Sepsis",
        "- Aspirin",
    ]
    assert found["rest", None] == ["- Cough"]
    assert found["category", "Conditions"] == ["- Sepsis", "- Cough"]
    assert found["category", "Patient Demographics"] == ["- Patient age: 40"]
    visit = found["visit", "Outpatient Visit from 2023-12-01"]
    assert [line for line in visit if line] == [
        "- Outpatient Visit from 2023-12-01",
        "### Outpatient Visit from 2023-12-01",
        "#### Conditions",
        "- Cough",
    ]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), st.integers(1, 9), st.data())
def test_lines_of_a_list_are_left_out_once_each(words: list[str], most: int, data: st.DataObject) -> None:
    labs = data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    categories = {name: "\n".join(w for w, lab in zip(words, labs, strict=True) if lab == is_lab)
                  for name, is_lab in (("labs", True), ("visits", False)) if is_lab in labs}  # fmt: skip
    parts = list(list_parts(words, categories, [], most))
    numbers = [n for part in parts if part.kind in ("line", "rest") for n in part.lines]
    assert numbers == list(range(1, len(words) + 1))
    for part in parts:
        if part.kind == "category":
            left = without(words, set(numbers) - set(part.lines))
            assert sorted(left.split("\n")) == sorted(categories[part.name or ""].split("\n"))


def test_a_visits_lines_go_from_its_start_to_the_next_ones() -> None:
    parts = list(list_parts(list("abcde"), {}, [("third", 2), ("second", 2), ("first", 4)], 9))
    assert [part for part in parts if part.kind == "visit"] == [
        Part("visit", "third", (1, 2)),
        Part("visit", "second", ()),
        Part("visit", "first", (3, 4)),
    ]


class Words:
    """Line vectors that are known: each letter of a line counts in its own dimension."""

    def __init__(self) -> None:
        self.manifest = FakeEncoder().manifest
        self.seen: list[str] = []

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """Number of events 0 to 7 that a text tells of."""
        self.seen += texts
        rows = [[float(text.count(f"SNOMED/{n}\n") + text.endswith(f"SNOMED/{n}")) for n in range(8)] for text in texts]
        ones = np.ones(len(texts), dtype=np.int64)
        yield list(range(len(texts))), Encoded(np.array(rows, dtype=np.float32), ones, ones == 0)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors."""
        return in_order(8, self.encode_batches(texts))


WEIGHTS = [1, -1, 2, -2, 1, -1, 2, -2]  # of `add_head`, whose intercept is 0.5


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """Patient 1: events 2 and 3 in a visit of day 1, then 0 and 6 in another of day 5."""
    with database.transaction() as connection:
        write(connection, [Record(1, day(d), f"SNOMED/{n}") for d, n in ((1, 2), (2, 3), (5, 0), (6, 6))])
        connection.execute(
            "update ehrdb.event set visit_class = 'inpatient' from ehrdb.concept c"
            " where c.code_id = event.code_id and c.code in ('SNOMED/2', 'SNOMED/0')"
        )
        found = add_encoder(connection)
        connection.execute("insert into ehrdb.task values ('odd', 'test', 'binary', '', '{\"shape\": \"imported\"}')")
        add_head(connection, "odd", found)
    return found


def explained(
    database: Database, encoder: RegisteredEncoder, model: Words, as_of: datetime | None = None, **how: Any
) -> Explanation:
    return explain_risk(database, encoder, lambda _: model, "odd", 1, as_of, **how)


def told(effects: list[Effect]) -> dict[str, float]:
    return {effect.text: round(effect.log_odds, 6) for effect in effects}


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_a_lines_effect_is_what_leaving_it_out_changes(database: Database, encoder: RegisteredEncoder) -> None:
    found = explained(database, encoder, Words())
    assert told(found.lines) == {f"text of SNOMED/{n}": WEIGHTS[n] for n in (2, 3, 6, 0)}
    assert found.probability == pytest.approx(sigmoid(0.5 + 2 - 2 + 1 + 2))
    for effect in found.lines:
        assert effect.probability == pytest.approx(found.probability - sigmoid(3.5 - effect.log_odds))
    visits = {effect.text: effect.log_odds for effect in found.groups if effect.kind == "visit"}
    assert visits == {"2020-01-05 08:00": pytest.approx(3), "2020-01-01 08:00": pytest.approx(0)}


def test_single_effects_are_held_against_leaving_all_out(database: Database, encoder: RegisteredEncoder) -> None:
    found = explained(database, encoder, Words())
    assert found.added_up == pytest.approx(sum(effect.probability for effect in found.lines))
    # Something must stay to be read: of four lines, the weakest of the strongest ones.
    assert found.together == pytest.approx(found.probability - sigmoid(0.5 + 1))


def test_a_second_call_embeds_nothing_and_says_the_same(database: Database, encoder: RegisteredEncoder) -> None:
    model = Words()
    first = explained(database, encoder, model)
    seen = len(model.seen)
    second = explained(database, encoder, model)
    assert (len(model.seen), first.is_from_cache, second.is_from_cache) == (seen, False, True)
    assert (second.lines, second.groups, second.together) == (first.lines, first.groups, first.together)
    with database.transaction() as connection:
        write(connection, [Record(1, day(9), "SNOMED/7")])
    assert told(explained(database, encoder, model).lines)["text of SNOMED/7"] == -2
    assert not explained(database, encoder, model, most_lines=2).is_from_cache


def test_a_past_moment_is_explained_from_what_was_known_then(database: Database, encoder: RegisteredEncoder) -> None:
    found = explained(database, encoder, Words(), day(5))
    assert set(told(found.lines)) == {f"text of SNOMED/{n}" for n in (2, 3, 0)}


def test_lines_beyond_the_limit_are_left_out_as_one(database: Database, encoder: RegisteredEncoder) -> None:
    found = explained(database, encoder, Words(), most_lines=2)
    assert told(found.lines) == {"text of SNOMED/6": 2, "text of SNOMED/0": 1, "all other lines": 0}


def test_sql_reads_what_was_found_for_the_text_of_a_moment(database: Database, encoder: RegisteredEncoder) -> None:
    question = "select kind, name, round(effect_on_log_odds::numeric, 3) from ehr.risk_reasons('odd', 1, %s)"
    found = explained(database, encoder, Words(), day(5))
    with database.transaction() as connection:
        rows = connection.execute(question, [day(5)]).fetchall()
        assert connection.execute(question, [day(6)]).fetchall() == []
    assert [name for kind, name, _ in rows if kind == "line"] == [effect.text for effect in found.lines]
    assert {name for kind, name, _ in rows if kind == "visit"} == {"2020-01-05 08:00", "2020-01-01 08:00"}


def test_what_explains_a_patient_goes_with_the_patient(database: Database, encoder: RegisteredEncoder) -> None:
    explained(database, encoder, Words())
    with database.transaction() as connection:
        connection.execute("select ehrdb.purge_patients(array[1])")
        assert connection.execute("select count(*) from ehrdb.risk_reason").fetchone() == (0,)


def test_a_reader_sees_an_explanation_that_is_not_kept(
    database: Database, analyst: Database, encoder: RegisteredEncoder
) -> None:
    assert explained(analyst, encoder, Words()).lines
    assert not explained(analyst, encoder, Words()).is_from_cache
    explained(database, encoder, Words())
    assert explained(analyst, encoder, Words()).is_from_cache


def test_one_line_alone_has_nothing_to_leave_out(database: Database, encoder: RegisteredEncoder) -> None:
    with pytest.raises(NotFound, match="nothing to leave out"):
        explained(database, encoder, Words(), day(1))


@pytest.fixture
def joint(database: Database, encoder: RegisteredEncoder) -> RegisteredEncoder:
    """The whole record beside its conditions, which are events 2 and 0, and a head of both."""
    with database.transaction() as connection:
        connection.execute(
            "insert into ehrdb.concept_category (rules, code_id, category)"
            " select 'paper', code_id, case when code in ('SNOMED/2', 'SNOMED/0') then 'conditions' else 'labs' end"
            "   from ehrdb.concept where vocabulary = 'SNOMED'"
            "     on conflict (rules, code_id) do update set category = excluded.category"
        )
        found = registry.concatenate(connection, "joint", "fake", "fake:list_recent_only_conditions")
        connection.execute(
            "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)"
            " values ('odd', 'odd', %s, %s, %s::float8[]::public.vector, 0.5, '{}')",
            [found.encoder_id, found.prompt_id, [*map(float, WEIGHTS), *[-0.5] * 8]],
        )
    refresh_all(database, found, lambda _: Words())
    return found


def test_a_concatenation_leaves_a_line_out_in_every_part_that_shows_it(
    database: Database, joint: RegisteredEncoder
) -> None:
    found = explained(database, joint, Words())
    assert told(found.lines) == {f"text of SNOMED/{n}": WEIGHTS[n] - 0.5 * (n in (0, 2)) for n in (2, 3, 6, 0)}
    with database.transaction() as connection:
        (predicted,) = connection.execute("select ehr.predict('odd', 1, encoder => 'joint')").fetchone() or (None,)
        rows = connection.execute("select name, effect from ehr.risk_reasons('odd', 1, encoder => 'joint')").fetchall()
    assert found.probability == pytest.approx(predicted)
    assert {(line.text, line.probability) for line in found.lines} <= set(rows)
    assert explained(database, joint, Words()).is_from_cache


def test_a_line_that_changes_its_part_is_explained_anew(database: Database, joint: RegisteredEncoder) -> None:
    explained(database, joint, Words())
    with database.transaction() as connection:
        connection.execute("update ehrdb.concept_category set category = 'labs' where category = 'conditions'")
    found = explained(database, joint, Words())
    assert (found.is_from_cache, told(found.lines)["text of SNOMED/2"]) == (False, WEIGHTS[2])


def test_an_encoder_without_a_model_explains_nothing(database: Database, encoder: RegisteredEncoder) -> None:
    imported = RegisteredEncoder(**{**vars(encoder), "kind": "import"})
    with pytest.raises(EncoderError, match="no model"):
        explained(database, imported, Words())


def test_the_probability_explained_is_the_one_that_is_predicted(database: Database, encoder: RegisteredEncoder) -> None:
    lines = LineEncoder(FakeEncoder())
    refresh(database, encoder, lambda: lines)
    found = explained(database, encoder, lines)  # type: ignore[arg-type]
    with database.transaction() as connection:
        (predicted,) = connection.execute("select ehr.predict('odd', 1)").fetchone() or (None,)
        assert registry.find(connection, None) == encoder
    assert found.probability == pytest.approx(predicted, abs=1e-3)
