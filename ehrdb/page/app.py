"""The web application: routes, who may ask how often, and errors in words."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ehrdb.client import Client
from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.errors import (
    ArgumentError,
    ConfigError,
    DatabaseUnavailable,
    EhrdbError,
    NotAllowed,
    NotFound,
    WorkerUnavailable,
)
from ehrdb.page import cohort, models, views
from ehrdb.page import outcomes as after
from ehrdb.page.doors import Door
from ehrdb.page.limit import Limit
from ehrdb.page.sessions import SECONDS, Sessions

STATUS: dict[type[EhrdbError], int] = {
    NotFound: 404,
    NotAllowed: 403,
    ArgumentError: 400,
    ConfigError: 400,
    WorkerUnavailable: 503,
    DatabaseUnavailable: 503,
}
HEADERS = {
    # No script at all: what a record holds can be nothing but text.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LONGEST_FORM = 40_000
_templates = Environment(
    loader=PackageLoader("ehrdb.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_log = logging.getLogger("ehrdb.page")
SESSION = "session"
"""What the cookie calls the key of who signed in."""
Handler = Callable[[Request], Awaitable[Response]]


class Page:
    """The application's parts: one pool of connections, each request under its asker's role."""

    def __init__(self, database: Database, settings: Settings, door: Door, *, limit: Limit, attempts: Limit) -> None:
        self._database, self._settings, self._door = database, settings, door
        self._limit, self._attempts = limit, attempts
        self._sessions = Sessions()

    def routes(self) -> list[Route | Mount]:
        """Every address."""
        return [
            Route("/", self._guarded(self.home)),
            Route("/sign-in", self.sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._guarded(self.sign_out), methods=["POST"]),
            Route("/find", self._guarded(self.find), methods=["GET", "POST"]),
            Route("/patients/{patient_id:int}", self._guarded(self.patient)),
            Route("/patients/{a:int}/and/{b:int}", self._guarded(self.compare)),
            Route("/patients/{patient_id:int}/outcomes", self._guarded(self.outcomes), methods=["POST"]),
            Route("/cohort", self._guarded(self.cohort), methods=["GET", "POST"]),
            Route("/models", self._guarded(self.models)),
            Route("/models/{task}", self._guarded(self.model)),
            Mount("/static", StaticFiles(packages=[("ehrdb.page", "static")])),
        ]

    def _client(self, role: str) -> Client:
        return Client(self._database.acting_as(role), self._settings, "rows", ExitStack())

    def _guarded(self, answer: Callable[[Request, Client], Awaitable[Response]]) -> Handler:
        """Who is not signed in is sent to do so; the others ask as who they are, so often at most."""

        async def handle(request: Request) -> Response:
            role = self._door.role(request) or self._sessions.role(request.session.get(SESSION, ""))
            if role is None:
                if not (self._door.asks_name or self._door.asks_secret):
                    raise NotAllowed("the proxy named nobody", hint="Come in by the proxy's address.")
                return RedirectResponse("/sign-in", 303)
            request.state.role = role
            if not self._limit.allows(role):
                raise HTTPException(429)
            return await answer(request, self._client(role))

        return handle

    async def home(self, request: Request, db: Client) -> Response:
        """What is loaded, how fresh it is, what is wrong."""
        return _page(request, "home", **await run_in_threadpool(views.home, db))

    async def find(self, request: Request, db: Client) -> Response:
        """A patient by id, by words, by a code."""
        if request.method == "GET":
            return _page(request, "find", kind=None, asked="", code="", found=None)
        form = await _form(request)
        kind, asked, code = form.get("kind", ""), form.get("asked", "").strip(), form.get("code", "").strip()
        if kind == "id":
            return RedirectResponse(f"/patients/{_whole(asked, 'a patient id')}", 303)
        if kind not in FINDERS or not asked:
            raise ConfigError("there is nothing to look for", hint="Write an id, a few words, or a code.")
        found = await run_in_threadpool(FINDERS[kind], db, asked, code)
        return _page(request, "find", kind=kind, asked=asked, code=code, found=found)

    async def patient(self, request: Request, db: Client) -> Response:
        """One patient as of a moment."""
        ask, before = request.query_params, request.query_params.get("before")
        wanted = views.Filter(
            ask.get("category") or None,
            _moment(ask.get("since"), is_end=False),
            _whole(before, "a place in the record") if before else None,
        )
        as_of = _moment(ask.get("as_of"))
        among_everybody = ask.get("alike") == "everybody"
        patient_id = _patient(request, "patient_id")
        shown = await run_in_threadpool(views.patient, db, patient_id, as_of, wanted, among_everybody=among_everybody)
        return _page(request, "patient", **shown)

    async def outcomes(self, request: Request, db: Client) -> Response:
        """What happened to the patients most like one."""
        form, patient_id = await _form(request), _patient(request, "patient_id")
        as_of, outcome = _moment(form.get("as_of")), form.get("outcome", "").strip()
        shown = await run_in_threadpool(after.outcomes, db, patient_id, as_of, outcome)
        return _page(request, "outcomes", id=patient_id, as_of=as_of, outcome=outcome, **shown)

    async def cohort(self, request: Request, db: Client) -> Response:
        """A group of patients: by risk, beside controls, as a map."""
        if request.method == "GET":
            tasks = await run_in_threadpool(cohort.tasks, db)
            return _page(request, "cohort", asked=cohort.Wanted(), tasks=tasks, size=None)
        wanted = cohort.wanted(await _form(request))
        return _page(request, "cohort", **await run_in_threadpool(cohort.cohort, db, wanted))

    async def models(self, request: Request, db: Client) -> Response:
        """Encoders and heads."""
        return _page(request, "models", **await run_in_threadpool(models.models, db))

    async def model(self, request: Request, db: Client) -> Response:
        """What is known of a task's head."""
        return _page(request, "model", **await run_in_threadpool(models.model, db, request.path_params["task"]))

    async def compare(self, request: Request, db: Client) -> Response:
        """Two patients side by side."""
        a, b = _patient(request, "a"), _patient(request, "b")
        shown = await run_in_threadpool(views.compare, db, a, b, _moment(request.query_params.get("as_of")))
        return _page(request, "compare", **shown)

    async def sign_in(self, request: Request) -> Response:
        """The form, and what is written into it."""
        if request.method == "GET":
            return _page(request, "sign_in", door=self._door, error=None)
        form = await _form(request)
        address = request.client.host if request.client else ""
        name = form.get("name", "") if self._door.asks_name else ""
        # Behind a proxy all come from one address: ten attempts for each name, many for all.
        if not (self._attempts.allows(f"{address} {name}") and self._limit.allows(f"from {address}")):
            raise HTTPException(429)
        try:
            role = await run_in_threadpool(self._door.admit, form.get("name", ""), form.get("secret", ""))
            await run_in_threadpool(self._client(role).note, "sign-in")
        except NotAllowed as error:
            return _page(request, "sign_in", http=403, door=self._door, error=error)
        request.session.clear()
        request.session[SESSION] = self._sessions.begin(role)
        return RedirectResponse("/", 303)

    async def sign_out(self, request: Request, db: Client) -> Response:
        """Forget who it was."""
        await _form(request)
        self._sessions.end(request.session.get(SESSION, ""))
        request.session.clear()
        return RedirectResponse("/sign-in", 303)


FINDERS: dict[str, Callable[[Client, str, str], Any]] = {
    "words": views.by_words,
    "concept": views.concepts,
    "code": views.bearers,
}


def make_app(
    database: Database,
    settings: Settings,
    door: Door,
    *,
    hosts: list[str],
    is_https: bool = False,
    limit: Limit | None = None,
    attempts: Limit | None = None,
) -> Starlette:
    """The application. hosts: names that it answers to. limit: for each role, and for each address that signs in (120 a
    minute); attempts: to sign in, for each address and name (10 a minute)."""
    page = Page(database, settings, door, limit=limit or Limit(120, 60), attempts=attempts or Limit(10, 60))
    session = Middleware(
        SessionMiddleware,
        # Nobody stays signed in when the program ends.
        secret_key=secrets.token_hex(32),
        session_cookie="ehrdb",
        max_age=SECONDS,
        same_site="strict",
        https_only=is_https,
    )
    app = Starlette(
        routes=page.routes(),
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts), session],
        exception_handlers={EhrdbError: _explained, HTTPException: _refused},
    )
    app.add_middleware(_Outermost)
    return app


class _Outermost:
    """Adds HEADERS to every answer, and answers where the program fails: with the kind of error, never with what it
    says, which may hold a record's words."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        has_begun = False

        async def send_with(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            if message["type"] == "http.response.start":
                found = {name.lower() for name, _ in message["headers"]}
                message["headers"] += [
                    (name.lower().encode(), value.encode())
                    for name, value in HEADERS.items()
                    if name.lower().encode() not in found
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with)
        except Exception as error:
            _log.error("an error of the program: %s", type(error).__name__)
            if not has_begun:
                text = f"<!doctype html><title>ehrdb</title><p>An error of the program: {type(error).__name__}."
                await HTMLResponse(text, 500)(scope, receive, send_with)


def _page(request: Request, name: str, *, http: int = 200, **shown: Any) -> Response:
    token = request.session.setdefault("token", secrets.token_urlsafe(16))
    role = getattr(request.state, "role", None)
    rendered = _templates.get_template(f"{name}.html.j2").render(
        shown, token=token, role=role, path=request.url.path, is_session=SESSION in request.session
    )
    return HTMLResponse(rendered, http)


async def _form(request: Request) -> dict[str, str]:
    """What a form sent, if it was ours. Raises NotAllowed, ConfigError."""
    if int(request.headers.get("content-length") or LONGEST_FORM + 1) > LONGEST_FORM:
        raise ConfigError("that is too long", hint="At most 8,000 characters.")
    async with request.form(max_files=0, max_fields=20) as sent:
        form = {name: value for name, value in sent.items() if isinstance(value, str)}
    known = request.session.get("token", "")
    if not known or not secrets.compare_digest(form.get("token", "").encode(), known.encode()):
        raise NotAllowed("this form is not from your session", hint="Go back, load the page again, and send it anew.")
    return form


def _patient(request: Request, name: str) -> int:
    found = int(request.path_params[name])
    if found >= 2**63:
        raise NotFound("there is no such patient", hint="Look under Find.")
    return found


def _moment(text: str | None, *, is_end: bool = True) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError("that is no moment", hint="Write it as 2020-06-30 or 2020-06-30T23:59.") from None
    if found.tzinfo is not None:
        raise ConfigError("records have local times", hint="Leave out the time zone.")
    # As of a day without an hour means that day to its end, as people say it.
    return found.replace(hour=23, minute=59, second=59) if is_end and len(text) == len("2020-06-30") else found


def _whole(text: str, what: str) -> int:
    if not (text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()) or len(text) > 19:
        raise ConfigError(f"that is not {what}", hint="A whole number, as in ehr.patient.")
    return int(text)


def _explained(request: Request, error: Exception) -> Response:
    assert isinstance(error, EhrdbError)
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    return _page(request, "error", http=status, message=error.message, hint=error.hint)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is no such page", 405: "this page cannot be asked like that", 429: "too many requests"}
    hint = "Wait a minute." if error.status_code == 429 else "Go on from Home."
    message = words.get(error.status_code, "this cannot be answered")
    return _page(request, "error", http=error.status_code, message=message, hint=hint)
