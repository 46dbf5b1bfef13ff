"""Answers: JSON for scripts, a page for people, and the headers that every answer carries."""

from __future__ import annotations

from flask import Flask, Request, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.wrappers import Response

# Nothing from elsewhere, nothing inline, no frame. Scripts, what they ask for, and forms are the worker's own alone.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # "no-referrer" would make browsers send `Origin: null` with a form, and the form would be refused.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# What a person reads; a refusal says no more than that it is one.
_EXPLANATIONS = {
    400: "The request could not be understood.",
    403: "You may not do this.",
    404: "There is nothing here.",
    405: "This address does not take that kind of request.",
    413: "The request is too large.",
    415: "The worker reads JSON and forms.",
    500: "Something went wrong; the worker's log says what.",
    503: "The store or Cloud Tasks does not answer. Nothing was lost by this; try again.",
}


def wants_page(request: Request) -> bool:
    """True for a browser: it prefers HTML. A script that takes anything gets JSON."""
    accepted = request.accept_mimetypes
    return accepted.best_match(["application/json", "text/html"]) == "text/html"


def explanation(status: int) -> str:
    """What a person reads of an error, whatever its cause; empty for a status that needs no words."""
    return _EXPLANATIONS.get(status, "")


def refuse(status: int, detail: str = "", *, heading: str = "") -> Response:
    """An error as JSON `{"error": ...}` with `detail` in place of the standing explanation, or as a page with both.

    The page may have a `heading` of its own where the standing explanation would be wrong.
    """
    standing = explanation(status)
    if wants_page(request):
        text = render_template("error.html", status=status, heading=heading or standing or status, detail=detail)
        return make_response(text, status)
    return make_response(jsonify({"error": detail or standing}), status)


def answer_errors(app: Flask) -> None:
    """Answer every HTTP error, and every exception nobody caught, with `refuse`."""

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 500
        if error.response is not None or status < 400:
            return error.get_response()
        # Only what was raised here with words of its own has something to say; the standard texts have not.
        standard = default_exceptions.get(status)
        detail = error.description if standard is None or error.description != standard.description else ""
        response = refuse(status, detail or "")
        if allowed := getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response
