"""The shop's frontend: a page with a form that sends signals, and what became of them."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from gaesignals import SignalsError, StoreError, send_many

from .ledger import handled
from .orders import place
from .signals import order_paid, page_viewed, password_changed

MAX_COUNT = 10_000
MAX_BYTES_AT_ONCE = 16 * 2**20
MAX_REQUEST_BYTES = 2 * 2**20

EXAMPLES = (
    (page_viewed.name, '{"path": "/shoes"}', 50),
    (order_paid.name, '{"order": 1017, "total": "49.90"}', 1),
    (password_changed(user_id=54274).name, "", 1),
)


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

    @app.post("/send")
    def send() -> BaseResponse:
        _check_same_site()
        name, data, count = _form()
        ids = send_many([(name, data)] * count)
        if _wants_page():
            return redirect(url_for("index", sent=f"{len(ids)} × {name}"), code=303)
        return jsonify({"sent": len(ids), "ids": ids})

    @app.post("/order")
    def order() -> BaseResponse:
        """Store an order; its signals come with the transaction."""
        _check_same_site()
        number = place(request.form.get("item", "shoes")[:200])
        if _wants_page():
            return redirect(url_for("index", sent=f"order {number}"), code=303)
        return jsonify({"order": number})

    @app.get("/handled.json")
    def handled_json() -> Response:
        response = jsonify(handled())
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    @app.errorhandler(BadRequestError)
    @app.errorhandler(SignalsError)
    @app.errorhandler(HTTPException)
    def refuse(error: Exception) -> BaseResponse | tuple[str | Response, int]:
        status, message = _status(error), _message(error)
        return (_page(worker_url, error=message) if _wants_page() else jsonify({"error": message})), status

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


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
        data=given.get("data", EXAMPLES[0][1]),
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
