"""The shop's frontend: a page with a form that sends signals, and what became of them."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from gaesignals import SignalsError, StoreError, send_many

from .examples import EXAMPLES
from .ledger import handled, note
from .orders import place
from .signals import page_viewed
from .waiting import waiting

MAX_COUNT = 10_000
MAX_BYTES_AT_ONCE = 16 * 2**20
MAX_REQUEST_BYTES = 2 * 2**20


class BadRequestError(Exception):
    """A form that cannot be used; the message says what to do."""

    status = 400


class CrossSiteError(BadRequestError):
    """A form that a page of another site sent."""

    status = 403


def create_app(*, worker_url: str = "") -> Flask:
    """Make the app; `worker_url` is where the worker's administration is linked, if it is known."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = MAX_REQUEST_BYTES

    @app.get("/")
    def index() -> str:
        return _page(worker_url, sent=request.args.get("sent", ""))

    @app.errorhandler(BadRequestError)
    @app.errorhandler(SignalsError)
    @app.errorhandler(HTTPException)
    def refuse(error: Exception) -> BaseResponse | tuple[str | Response, int]:
        status, message = _status(error), _message(error)
        return (_page(worker_url, error=message) if _wants_page() else jsonify({"error": message})), status

    _add_sending(app)
    _add_looks(app)
    return app


def _add_sending(app: Flask) -> None:
    @app.post("/send")
    def send() -> BaseResponse:
        _check_same_site()
        name, data, count = _form()
        ids = send_many([(name, data)] * count)
        note(name)
        return _sent(f"{len(ids)} × {name}", {"sent": len(ids), "ids": ids})

    @app.post("/try")
    def try_example() -> BaseResponse:
        """Do what one of the buttons says."""
        _check_same_site()
        example = EXAMPLES.get(request.form.get("example", ""))
        if example is None:
            raise BadRequestError(f"example has to be one of {', '.join(EXAMPLES)}")
        sent = example.send()
        return _sent(sent, {"sent": sent, "outcome": example.outcome})

    @app.post("/order")
    def order() -> BaseResponse:
        """Store an order; its signals come with the transaction."""
        _check_same_site()
        number = place(request.form.get("item", "shoes")[:200])
        return _sent(f"order {number}", {"order": number})


def _sent(what: str, answer: dict[str, Any]) -> BaseResponse:
    return redirect(url_for("index", sent=what), code=303) if _wants_page() else jsonify(answer)


def _add_looks(app: Flask) -> None:
    @app.get("/handled.json")
    def handled_json() -> dict[str, Any]:
        return handled()

    @app.get("/waiting.json")
    def waiting_json() -> dict[str, Any]:
        return waiting()

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if response.is_json:
            response.headers["Cache-Control"] = "no-store"
        return response


def _form() -> tuple[str, Any, int]:
    """Read the form: a name, data as JSON if it parses and as text if not, and how many to send."""
    text = request.form.get("data", "")
    try:
        count = int(request.form.get("count", "") or 1)
    except ValueError:
        count = 0
    if not 1 <= count <= MAX_COUNT:
        raise BadRequestError(f"count has to be a number from 1 to {MAX_COUNT}")
    if count * len(text) > MAX_BYTES_AT_ONCE:
        raise BadRequestError("that is more than 16 MB at once: send less data, or fewer signals")
    return request.form.get("name", ""), _data(text), count


def _data(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _check_same_site() -> None:
    """Refuse a form that a page of another site sent; scripts say nothing about that, and are let in."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site in ("cross-site", "same-site") or (site is None and origin and origin.partition("://")[2] != request.host):
        raise CrossSiteError("this form was sent by a page of another site")


def _wants_page() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _page(worker_url: str, *, sent: str = "", error: str = "") -> str:
    given = request.form if error else {}
    return render_template(
        "shop.html",
        examples=EXAMPLES,
        worker_url=worker_url,
        max_count=MAX_COUNT,
        sent=sent,
        error=error,
        name=given.get("name", page_viewed.name),
        data=given.get("data", '{"path": "/shoes"}'),
        count=given.get("count", "1"),
    )


def _status(error: Exception) -> int:
    if isinstance(error, StoreError):
        return 503
    if isinstance(error, HTTPException):
        return error.code or 500
    return getattr(error, "status", 400)


def _message(error: Exception) -> str:
    if isinstance(error, HTTPException):
        return error.description or error.name
    return str(error)
