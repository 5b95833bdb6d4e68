"""The page without a browser: who may see what, what is refused, and in which words."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from starlette.testclient import TestClient

from ehrdb.cli.serve import serve
from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.embedding import index_dates, refresh, registry
from ehrdb.errors import NotAllowed
from ehrdb.page.app import make_app
from ehrdb.page.charts import COURSE_HEIGHT, COURSE_WIDTH, course
from ehrdb.page.doors import Door, HeaderDoor, KeyDoor, PasswordDoor
from ehrdb.page.limit import Limit
from ehrdb.page.sessions import SECONDS, Sessions
from ehrdb.page.sparkline import HEIGHT, MARGIN, WIDTH, sparkline, usual
from ehrdb.testing import FakeEncoder
from tests.conftest import run
from tests.page.conftest import ALICE, BOB
from tests.records import Record, day, write
from tests.search.test_words import answered


def client(database: Database, door: Door, limit: Limit | None = None, attempts: Limit | None = None) -> TestClient:
    app = make_app(database, Settings(), door, hosts=["testserver"], limit=limit, attempts=attempts)
    return TestClient(app, raise_server_exceptions=False)


def as_user(database: Database, role: str) -> TestClient:
    """A browser for which the proxy names this role."""
    found = client(database, HeaderDoor("X-User"))
    found.headers["X-User"] = role
    return found


@pytest.fixture
def alice(hospital: Database) -> TestClient:
    return as_user(hospital, ALICE)


@pytest.fixture
def scram(server_url: str) -> Iterator[None]:
    """The server asks these two for their passwords."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        row = connection.execute("show hba_file").fetchone()
    assert row is not None
    file = Path(row[0])
    if not file.is_file():
        pytest.skip("needs a server on this machine")
    before = file.read_text()
    asked = "".join(f"{kind} scram-sha-256\n" for kind in (f"local all {ALICE},{BOB}", f"host all {ALICE},{BOB} all"))
    file.write_text(asked + before)
    run(server_url, "select pg_reload_conf()")
    yield
    file.write_text(before)
    run(server_url, "select pg_reload_conf()")


def token(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found
    return found[1]


def post(browser: TestClient, path: str, **fields: str) -> str:
    """Send a form with its page's token; the page that comes back."""
    answer = browser.post(path, data={"token": token(browser.get(path).text), **fields})
    return str(answer.text)


def test_each_user_sees_their_own_site_and_the_others_are_unknown(hospital: Database) -> None:
    alice, bob = as_user(hospital, ALICE), as_user(hospital, BOB)
    assert (alice.get("/patients/1").status_code, alice.get("/patients/11").status_code) == (200, 404)
    assert (bob.get("/patients/1").status_code, bob.get("/patients/11").status_code) == (404, 200)
    neighbours = {int(found) for found in re.findall(r"/patients/(\d+)", bob.get("/patients/11").text)}
    assert neighbours <= set(range(11, 21))
    assert len(neighbours) > 3


def test_every_patient_seen_is_in_the_audit_with_who_saw_them(hospital: Database, alice: TestClient) -> None:
    alice.get("/patients/3")
    alice.get("/patients/11")
    alice.get("/patients/3/and/4")
    with hospital.transaction() as connection:
        noted = connection.execute("select what, patients from ehr.audit order by at").fetchall()
    assert (f"page as {ALICE}", [3]) in noted
    assert (f"page as {ALICE}", [11]) in noted
    assert (f"explain as {ALICE}", [3, 4]) in noted


def test_going_back_shows_nothing_later(alice: TestClient) -> None:
    today, then = alice.get("/patients/1").text, alice.get("/patients/1?as_of=2020-01-22").text
    assert "3 values from 2020-01-21 to 2020-01-23" in today
    assert "2 values from 2020-01-21 to 2020-01-22" in then
    assert "SITE/note" in today
    assert "SITE/note" not in then
    assert not re.search("2020-01-2[34]", then)


def test_what_a_record_holds_is_text(alice: TestClient) -> None:
    page = alice.get("/patients/1").text
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "<img" not in page
    assert len(page) < 100_000


def test_no_script_is_allowed_and_no_other_host(alice: TestClient) -> None:
    policy = alice.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert alice.get("/static/page.css").headers["X-Content-Type-Options"] == "nosniff"
    pages = [alice.get(path).text for path in ("/", "/find", "/patients/1", "/patients/1/and/2")]
    assert not any(re.search(r'(?:src|href|action)="(?:https?:|//)', page) for page in pages)
    assert all("Not a medical device" in page for page in pages)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/patients/404", 404, "there is no patient 404"),
        ("/patients/1?as_of=yesterday", 400, "that is no moment"),
        ("/patients/1?before=x", 400, "not a place in the record"),
        ("/patients/99999999999999999999", 404, "there is no such patient"),
        ("/nowhere", 404, "there is no such page"),
        ("/patients/1/and/404", 404, "404"),
    ],
)
def test_an_error_has_its_status_and_its_words(alice: TestClient, path: str, status: int, words: str) -> None:
    answer = alice.get(path)
    assert answer.status_code == status
    assert words in answer.text


def test_home_counts_a_load_s_events_once(hospital: Database, alice: TestClient) -> None:
    with hospital.transaction() as connection:
        connection.execute(
            "insert into ehrdb.load_report (load_id, source, source_table, kind, rows_read, rows_loaded)"
            " values (1, 'site', 'measurement', 'table', 7, 7), (1, 'site', 'person', 'table', 2, 2),"
            "        (1, 'site', 'all events', 'table', 7, 7), (1, 'site', 'times', 'figures', 7, 7)"
        )
    assert "One; " in alice.get("/").text
    assert "7 events of site" in alice.get("/").text


def test_two_of_whom_nothing_is_known_yet_are_said(alice: TestClient) -> None:
    assert "Neither has a record by then" in alice.get("/patients/1/and/2?as_of=1900-01-01").text


def test_before_birth_nobody_has_an_age(hospital: Database) -> None:
    with hospital.transaction() as connection:
        connection.execute("update ehrdb.patient set birth_time = '1960-01-16' where patient_id = 1")
    alice = as_user(hospital, ALICE)
    assert "60 years" in alice.get("/patients/1").text
    assert "years" not in alice.get("/patients/1?as_of=1900-01-01").text.partition("</h1>")[2].partition("</p>")[0]


def test_a_code_that_there_is_not_is_said_before_a_description_is_read(alice: TestClient) -> None:
    sent = {"token": token(alice.get("/find").text), "kind": "words", "asked": "heart", "code": "SNOMED/no-such"}
    answer = alice.post("/find", data=sent)
    assert (answer.status_code, "no such code" in answer.text) == (404, True)


def test_a_refresh_under_way_leaves_every_page_to_read(hospital: Database, alice: TestClient) -> None:
    with hospital.transaction() as connection:
        write(connection, [Record(1, day(26), "SITE/new")])
    with psycopg.connect(hospital.url) as refreshing:  # a portion that is being written
        refreshing.execute("delete from ehrdb.changed_patient where patient_id = 1")
        refreshing.execute("delete from ehrdb.patient_embedding where patient_id = 2")
        pages = [alice.get(path) for path in ("/", "/patients/1", "/patients/2", "/models", "/cohort")]
        refreshing.rollback()
    assert [page.status_code for page in pages] == [200] * 5
    assert "changed since" in pages[1].text


def test_ten_megabytes_of_text_make_no_page_long(hospital: Database) -> None:
    with hospital.transaction() as connection:
        write(connection, [Record(p, day(24), "SITE/letter", text=f"{p}" + "y" * 10_000_000) for p in (1, 2)])
    alice = as_user(hospital, ALICE)
    pages = [alice.get(path) for path in ("/patients/1", "/patients/2", "/patients/1/and/2")]
    assert [(page.status_code, len(page.content) < 100_000) for page in pages] == [(200, True)] * 3


def test_a_worker_that_is_down_is_said(alice: TestClient) -> None:
    sent = {"token": token(alice.get("/find").text), "kind": "words", "asked": "heart failure"}
    answer = alice.post("/find", data=sent)
    assert answer.status_code == 503
    assert "ehrdb worker" in answer.text


def test_a_description_finds_patients_by_words_and_meaning_among_those_with_a_code(hospital: Database) -> None:
    alice = as_user(hospital, ALICE)
    with answered(hospital):
        page = post(alice, "/find", kind="words", asked="text of snomed", code="SNOMED/10")
        everybody = post(alice, "/find", kind="words", asked="text of snomed")
    assert re.findall(r'href="/patients/(\d+)"', page) == ["1"]
    assert len(re.findall(r'href="/patients/(\d+)"', everybody)) == 10
    assert "By meaning" in page
    with hospital.transaction() as connection:
        noted = connection.execute("select patients from ehr.audit where what like 'page: found by words%'").fetchall()
    assert [len(patients) for (patients,) in noted] == [1, 10]


def test_a_description_whose_words_no_concept_holds_is_said_to_mean_little(hospital: Database) -> None:
    alice = as_user(hospital, ALICE)
    with answered(hospital):
        pages = [post(alice, "/find", kind="words", asked=words) for words in ("Herzschwäche", "text of snomed")]
    assert ["another language" in page for page in pages] == [True, False]


def test_concepts_are_found_by_their_words_and_lead_to_patients(alice: TestClient) -> None:
    assert "SNOMED/10" in post(alice, "/find", kind="concept", asked="TEXT snomed/10")
    assert 'href="/patients/1"' in post(alice, "/find", kind="code", asked="SNOMED/10")
    assert "No concept holds" in post(alice, "/find", kind="concept", asked="%")


def test_two_are_compared_by_vocabulary_too(alice: TestClient) -> None:
    page = alice.get("/patients/1/and/2").text
    rows = dict(re.findall(r'<th scope="row">(\w+)</th>((?:<td class="number">\d+</td>)+)', page))
    assert [re.findall(r"\d+", rows[name]) for name in ("SNOMED", "LOINC")] == [
        ["0", "0", "3", "3"],
        ["0", "0", "1", "0"],
    ]


def test_a_form_from_elsewhere_is_refused(alice: TestClient) -> None:
    assert alice.post("/find", data={"kind": "id", "asked": "1"}).status_code == 403
    assert alice.post("/find", data={"kind": "id", "asked": "1", "token": "x"}).status_code == 403


def test_a_form_that_is_too_long_is_refused(alice: TestClient) -> None:
    sent = {"token": token(alice.get("/find").text), "kind": "words", "asked": "x" * 50_000}
    assert alice.post("/find", data=sent).status_code == 400


def test_whom_the_proxy_does_not_name_sees_nothing(hospital: Database) -> None:
    nobody = client(hospital, HeaderDoor("X-User"))
    assert nobody.get("/patients/1").status_code == 403
    assert nobody.get("/patients/1", headers={"X-User": "nobody_of_this_name"}).status_code == 403
    twice = [("X-User", ALICE), ("X-User", BOB)]
    assert nobody.get("/patients/1", headers=twice).status_code == 403


def test_another_host_name_is_refused(alice: TestClient) -> None:
    assert alice.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_a_key_lets_in_and_nothing_else_does(hospital: Database) -> None:
    door = KeyDoor(ALICE)
    browser = client(hospital, door)
    assert browser.get("/patients/1").url.path == "/sign-in"
    assert "that is not the key" in post(browser, "/sign-in", secret="guess")
    assert "Home" in post(browser, "/sign-in", secret=door.key)
    assert browser.get("/patients/1").status_code == 200
    browser.post("/sign-out", data={"token": token(browser.get("/").text)})
    assert browser.get("/patients/1").url.path == "/sign-in"


def test_a_session_ends_with_signing_out_wherever_its_cookie_went(hospital: Database) -> None:
    door = KeyDoor(ALICE)
    browser = client(hospital, door)
    post(browser, "/sign-in", secret=door.key)
    copied = browser.cookies["ehrdb"]
    home = browser.get("/patients/1")
    assert home.status_code == 200
    browser.post("/sign-out", data={"token": token(home.text)})
    browser.cookies.clear()
    browser.cookies.set("ehrdb", copied)
    assert browser.get("/patients/1").url.path == "/sign-in"


def test_a_session_ends_hours_after_signing_in_however_often_somebody_asks() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    key = sessions.begin("alice")
    found = []
    for now[0] in (0.0, SECONDS / 2, SECONDS - 1, SECONDS, SECONDS + 1):
        found.append(sessions.role(key))
    assert found == ["alice", "alice", "alice", None, None]
    assert sessions.role("") is None


def test_a_made_up_session_is_nobody_s(hospital: Database) -> None:
    browser = client(hospital, KeyDoor(ALICE), attempts=Limit(3, 60))
    browser.cookies.set("ehrdb", "eyJyb2xlIjogImFsaWNlIn0=.aaaa.bbbb")
    assert browser.get("/patients/1").url.path == "/sign-in"


def test_guessing_is_limited(hospital: Database) -> None:
    browser = client(hospital, KeyDoor(ALICE), attempts=Limit(2, 60))
    form = token(browser.get("/sign-in").text)
    sent = {"token": form, "secret": "guess"}
    assert [browser.post("/sign-in", data=sent).status_code for _ in range(3)] == [403, 403, 429]
    assert browser.post("/sign-in", data={**sent, "name": "another"}).status_code == 429  # one key, whoever guesses


def test_guessing_many_names_is_limited_for_an_address(hospital: Database) -> None:
    browser = client(hospital, PasswordDoor(hospital), limit=Limit(2, 60))
    form = token(browser.get("/sign-in").text)
    sent = [{"token": form, "name": name, "secret": "guess\0"} for name in ("ann", "ben", "cem")]
    assert [browser.post("/sign-in", data=each).status_code for each in sent] == [403, 403, 429]


def test_an_address_is_the_connection_s_not_what_a_request_says_of_itself(
    hospital: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: dict[str, object] = {}
    monkeypatch.setattr("uvicorn.run", lambda app, **how: served.update(how))
    monkeypatch.setenv("EHRDB_DATABASE_URL", hospital.url)
    serve(role=ALICE, port=0)
    assert served["proxy_headers"] is False


@pytest.mark.parametrize(("name", "secret"), [("x" * 64, "guess"), ("al\0ice", "guess"), ("alice", "gu\0ess")])
def test_a_name_that_postgresql_would_cut_is_wrong(hospital: Database, name: str, secret: str) -> None:
    with pytest.raises(NotAllowed, match="name or password is wrong"):
        PasswordDoor(hospital).admit(name, secret)


def test_asking_is_limited_for_each_role(hospital: Database) -> None:
    browser = client(hospital, HeaderDoor("X-User"), limit=Limit(2, 60))
    asked = [browser.get("/find", headers={"X-User": role}).status_code for role in (ALICE, ALICE, ALICE, BOB)]
    assert asked == [200, 200, 429, 200]


def test_a_limit_ends() -> None:
    now = [0.0]
    limit = Limit(2, 60, clock=lambda: now[0])
    assert [limit.allows("a"), limit.allows("a"), limit.allows("a")] == [True, True, False]
    now[0] = 61
    assert limit.allows("a")


def test_the_database_decides_who_has_the_right_password(hospital: Database, server_url: str, scram: None) -> None:
    run(server_url, f"alter role {ALICE} password 'right'")
    browser = client(hospital, PasswordDoor(hospital))
    for name, secret in ((ALICE, "wrong"), (ALICE, ""), ("nobody_of_this_name", "right"), ("", "right")):
        assert "Sign in" in post(browser, "/sign-in", name=name, secret=secret)
        assert browser.get("/patients/1").url.path == "/sign-in"
    assert "Home" in post(browser, "/sign-in", name=ALICE, secret="right")
    assert browser.get("/patients/1").status_code == 200
    assert browser.get("/patients/11").status_code == 404


def test_a_server_that_asks_for_no_password_proves_nothing(hospital: Database) -> None:
    if str(conninfo_to_dict(hospital.url).get("host")).startswith("/"):
        with pytest.raises(NotAllowed, match="without a password"):
            PasswordDoor(hospital).admit(ALICE, "anything")


def test_a_fault_of_the_program_does_not_say_what_the_record_holds(
    alice: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a clinical secret")

    monkeypatch.setattr("ehrdb.page.views.home", fail)
    answer = alice.get("/")
    assert (answer.status_code, "ValueError" in answer.text, "secret" in answer.text) == (500, True, False)


def test_a_sparkline_is_in_proportion_to_time_and_fits() -> None:
    line = sparkline([datetime(2020, 1, n) for n in (1, 2, 5)], [1.0, 3.0, 2.0])
    bottom, top, right = HEIGHT - MARGIN, MARGIN, WIDTH - MARGIN
    assert line.points.split()[0] == f"{MARGIN:.1f},{bottom:.1f}"
    assert line.points.split()[1] == f"{MARGIN + (right - MARGIN) / 4:.1f},{top:.1f}"
    assert line.last == (right, (bottom + top) / 2)
    assert sparkline([datetime(2020, 1, 1)] * 2, [1.0, 1.0]).last == (WIDTH / 2, HEIGHT / 2)


def test_usual_figures_lie_in_a_band_within_the_field() -> None:
    days = [datetime(2020, 1, 1), datetime(2020, 1, 2)]
    bottom, top = HEIGHT - MARGIN, MARGIN
    assert sparkline(days, [10, 20], 10, 20).band == (top, bottom)
    assert sparkline(days, [10, 20], 15, None).band == (0, (top + bottom) / 2)
    assert sparkline(days, [10, 20], None, 15).band == ((top + bottom) / 2, HEIGHT)
    assert [sparkline(days, [10, 20], *ends).band for ends in ((50, 60), (None, None), (1, 2))] == [None] * 3
    assert [usual(*ends) for ends in ((3.5, 5), (None, 5), (3.5, None), (None, None))] == [
        "3.5 to 5",
        "to 5",
        "from 3.5",
        "",
    ]


def test_a_measurement_says_what_is_usual_in_its_unit(hospital: Database) -> None:
    with hospital.transaction() as connection:
        write(connection, [Record(2, day(n), "LOINC/718-7", 120.0 + n, unit="g/L") for n in (21, 22)])
    pages = [as_user(hospital, ALICE).get(f"/patients/{patient}").text for patient in (1, 2)]
    assert ["usual 12 to 17<" in page for page in pages] == [True, False]
    assert "usual 120 to 170<" in pages[1]


def test_a_course_of_probabilities_is_in_proportion_to_time_and_scaled_to_what_holds_it() -> None:
    days = [datetime(2020, 1, n) for n in (1, 2, 5)]
    drawn = course(days, [0.1, 0.2, 0.05], 0.15)
    assert drawn.highest == 0.2
    assert drawn.base == COURSE_HEIGHT / 4
    assert drawn.dots == [(0, COURSE_HEIGHT / 2), (COURSE_WIDTH / 4, 0), (COURSE_WIDTH, 3 * COURSE_HEIGHT / 4)]
    assert course(days[:1], [0.0], None).dots == [(COURSE_WIDTH / 2, COURSE_HEIGHT)]
    assert course(days, [1.0] * 3, 0.5).highest == 1


@pytest.fixture
def visited(hospital: Database) -> Database:
    """Patient 1 was here on the 2nd, the 5th and the 25th, and is embedded as of the 5th, and of the 8th, a label's."""
    with hospital.transaction() as connection:
        write(connection, [Record(1, day(n), "Visit/IP") for n in (2, 5, 25)])
        connection.execute(
            "update ehrdb.event set visit_class = 'inpatient' from ehrdb.concept c"
            " where patient_id = 1 and event.code_id = c.code_id and c.code = 'Visit/IP'"
        )
        connection.execute("insert into ehrdb.label values ('sepsis', 1, %s, 1)", [day(8)])
        encoder = registry.find(connection, None)
        dates = index_dates.resolve(connection, [(1, day(5)), (1, day(8))])
    refresh(hospital, encoder, FakeEncoder)
    refresh(hospital, encoder, FakeEncoder, index_dates=dates)
    return hospital


def history(page: str) -> list[tuple[str, str]]:
    """Days and whether a label was there, newest first."""
    shown = page.partition("sepsis over time")[2].partition("</table>")[0]
    return re.findall(r'<time datetime="(\S+?)T.*?<td>(yes|no)</td>', shown)


def test_how_a_risk_developed_is_drawn_and_where_the_head_was_never_trained_is_marked(visited: Database) -> None:
    page = as_user(visited, ALICE).get("/patients/1").text
    assert history(page) == [("2020-01-25", "no"), ("2020-01-08", "yes"), ("2020-01-05", "no")]
    drawn = page.partition('class="chart course"')[2].partition("</svg>")[0]
    assert (drawn.count('class="dot a"'), drawn.count('class="open a"')) == (1, 2)
    assert "After 1 visit the record is not embedded" in page
    assert "ehrdb risk sepsis 1 --embed" in page


def test_going_back_shows_no_later_probability(visited: Database) -> None:
    page = as_user(visited, ALICE).get("/patients/1?as_of=2020-01-08").text
    assert [moment for moment, _ in history(page)] == ["2020-01-08", "2020-01-05"]


def test_the_lines_that_move_a_probability_stand_beneath_it_once_somebody_has_found_them(hospital: Database) -> None:
    alice = as_user(hospital, ALICE)
    assert "Lines that move it most" not in alice.get("/patients/1").text
    with hospital.transaction() as connection:
        connection.execute(
            "insert into ehrdb.risk_reason (head_id, patient_id, content_sha256, as_of, most_lines, reasons)"
            " select h.head_id, 1, ehrdb.content_sha256(p.prompt, ehr.timeline(1, format => n.format)), now(), 500, %s"
            "   from ehrdb.head h join ehrdb.encoder n using (encoder_id) join ehrdb.prompt p"
            "     on p.prompt_id = h.prompt_id where n.is_serving",
            ['{"parts": [{"kind": "line", "name": null, "lines": [1], "probability": 0.034, "log_odds": 1}]}'],
        )
        row = connection.execute("select split_part(ehr.timeline(1), E'\\n', 1)").fetchone()
    assert row is not None
    found = re.search(
        r"Lines that move it most.*?<bdi>(.*?)</bdi> (\S+) points", alice.get("/patients/1").text, re.DOTALL
    )
    assert found is not None
    assert (html.unescape(found[1]), found[2]) == (row[0][:120], "+3.4")
