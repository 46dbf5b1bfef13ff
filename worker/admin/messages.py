"""The administrator's routes to the messages of a name: list, show one payload, and run, drop or kill retries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, jsonify, render_template, request
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Response

from gaesignals.delivery.deaths import announce_each
from gaesignals.errors import StoreError
from gaesignals.mailbox import retries
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.contents import Contents, Listed, Standing, contents
from gaesignals.receivers import Receivers

from ..access.callers import caller
from ..access.doors import Door, door
from ..answer import wants_page
from ..dispatcher import Dispatcher
from ..fields import any_fields, checked_name, checked_strings
from ..log import escaped
from .failure import failed_change
from .flash import back, done
from .payload import shown
from .status import at_ms, at_seconds, iso

logger = logging.getLogger("gaesignals.worker")

# As many as one look lists.
MAX_IDS = 100
# What a person may do with retries, and what it is called when it is done.
ACTIONS = {"run": "run", "drop": "dropped", "kill": "killed"}


@dataclass(frozen=True, slots=True)
class Moves:
    """What messages are changed with."""

    mailbox: Mailbox
    receivers: Receivers
    dispatcher: Dispatcher

    def run(self, name: str, ids: Collection[str]) -> Collection[str]:
        """Have retries due, and what is due dispatched: where every signal wakes, cron may run seldom."""
        there = retries.hasten(self.mailbox, name, ids)
        if there:
            self.dispatcher.fan_out_named([name])
        return there

    def drop(self, name: str, ids: Collection[str]) -> Collection[str]:
        """Throw retries away."""
        return retries.drop(self.mailbox, name, ids)

    def kill(self, name: str, ids: Collection[str]) -> Collection[str]:
        """Make dead letters of retries. Such a death is told as any other is."""
        letters = retries.kill(self.mailbox, name, ids, most=self.receivers.max_dead_letters)
        announce_each(name, letters, self.receivers, self.mailbox)
        return {letter.id for letter in letters}


def add_routes(admin: Blueprint, moves: Moves) -> None:
    """Add the routes to the administrator's blueprint."""
    _add_looks(admin, moves.mailbox)

    @admin.get("/messages/confirm")
    @door(Door.ADMIN)
    def confirm_messages() -> str:
        """Show what is about to be done with the retries of `ids`. Changes nothing."""
        name, action = _whose(request.args), request.args.get("action", "")
        if action not in ACTIONS:
            raise BadRequest(f"action has to be one of {', '.join(ACTIONS)}")
        asked = request.args.getlist("ids")[:MAX_IDS]
        found = contents(moves.mailbox, name, [Standing.RETRYING])
        chosen = [each for each in found.messages if each.record.id in asked]
        ids = list(dict.fromkeys(each.record.id for each in chosen))
        return render_template(
            "messages_choice.html",
            name=name,
            action=action,
            chosen=chosen,
            ids=ids,
            pairs=[("ids", id_) for id_ in ids],
            missing=len(set(asked)) - len(ids),
        )

    @admin.post("/messages/run")
    @door(Door.ADMIN)
    def run_messages() -> Response:
        """Run retries now, whenever they were to be run."""
        return _change("run", Moves.run, moves)

    @admin.post("/messages/drop")
    @door(Door.ADMIN)
    def drop_messages() -> Response:
        """Throw retries away, for good."""
        return _change("drop", Moves.drop, moves)

    @admin.post("/messages/kill")
    @door(Door.ADMIN)
    def kill_messages() -> Response:
        """Make dead letters of retries, without the attempts that they have left."""
        return _change("kill", Moves.kill, moves)


def _add_looks(admin: Blueprint, mailbox: Mailbox) -> None:
    @admin.get("/messages")
    @door(Door.ADMIN)
    def messages() -> str | Response:
        """The first hundred messages of a name, those that are to be retried first; with `state`, those alone."""
        name, standings = _whose(request.args), _standings()
        found = contents(mailbox, name, standings)
        if not wants_page(request):
            return jsonify({"name": name, "looked_at": iso(at_seconds(mailbox.clock())), **_json(found)})
        return render_template(
            "messages.html",
            name=name,
            found=found,
            state=standings[0].value if len(standings) == 1 else "",
            standings=list(Standing),
            now=at_seconds(mailbox.clock()),
            done=done(request.args),
        )

    @admin.get("/messages/payload")
    @door(Door.ADMIN)
    def message_payload() -> str | Response:
        """What one of the messages that are listed carries. Who asked is in the log."""
        name, id_ = _whose(request.args), request.args.get("id", "")
        if not id_:
            raise BadRequest("id is missing: which message?")
        listed = [each for each in contents(mailbox, name, _standings()).messages if each.record.id == id_]
        if not listed:
            raise NotFound("there is no such message among those that are listed; it may have been run")
        logger.info(
            "a message's payload is shown",
            extra={"signals_name": escaped(name), "signals_message": escaped(id_), "caller": escaped(caller())},
        )
        data = shown(listed[0].record.payload)
        if wants_page(request):
            return render_template("payload.html", name=name, id=id_, data=data, behind="messages")
        return jsonify({"name": name, "id": id_, "data": data})


def _standings() -> Sequence[Standing]:
    state = request.args.get("state", "")
    if not state:
        return tuple(Standing)
    if state not in {each.value for each in Standing}:
        raise BadRequest(f"state has to be one of {', '.join(each.value for each in Standing)}")
    return (Standing(state),)


def _whose(fields: Any) -> str:
    if "name" not in fields:
        raise BadRequest("name is missing: whose messages?")
    return checked_name(fields["name"])


def _json(found: Contents) -> dict[str, Any]:
    return {
        "counts": {standing.value: count for standing, count in found.counts.items()},
        "messages": [_message_json(each) for each in found.messages],
        "omitted": found.omitted,
        "missing": found.missing,
        "readable": found.is_readable,
    }


def _message_json(listed: Listed) -> dict[str, Any]:
    record, lease = listed.record, listed.lease
    return {
        "id": record.id,
        "state": listed.standing.value,
        "sent_at": iso(record.sent_at),
        "attempt": record.attempt,
        "next_try_at": iso(at_ms(record.not_before_ms)) if listed.standing is Standing.RETRYING else None,
        "error": record.error or None,
        "receivers": list(record.receivers),
        "bytes": len(record.payload),
        "durable": record.is_durable,
        "instance": lease.holder or None if lease else None,
        "lease_expires_at": iso(at_ms(lease.expires_ms)) if lease else None,
    }


def _change(action: str, change: Callable[[Moves, str, Collection[str]], Collection[str]], moves: Moves) -> Response:
    """Do something with the retries of the ids, which have to be given: none does not stand for all."""
    fields = any_fields(request, allowed={"name": False, "ids": True})
    name = _whose(fields)
    if "ids" not in fields:
        raise BadRequest("ids is missing: say which messages")
    ids = checked_strings("ids", fields["ids"], at_most=MAX_IDS)
    try:
        changed = change(moves, name, ids)
    except StoreError as error:
        return failed_change("an administrator's change of messages failed", error)
    logger.info(
        "an administrator changed messages",
        extra={
            "action": ACTIONS[action],
            "signals_name": escaped(name),
            "signals_count": len(changed),
            "caller": escaped(caller()),
        },
    )
    missing = set(ids).difference(changed)
    which = _others(moves.mailbox, name, missing) if missing else {}
    if wants_page(request):
        counts = {"messages": len(changed), "missing": len(missing)}
        counts |= {standing: len(others) for standing, others in which.items()}
        return back(ACTIONS[action], counts, endpoint="admin.messages", name=name)
    return jsonify({ACTIONS[action]: len(changed), "missing": len(missing), "which": which})


def _others(mailbox: Mailbox, name: str, ids: Collection[str]) -> dict[str, list[str]]:
    """Which of messages that are not to be retried wait or are leased, as far as they are listed."""
    others = (Standing.WAITING, Standing.LEASED)
    which: dict[str, list[str]] = {}
    try:
        found = [each for standing in others for each in contents(mailbox, name, [standing]).messages]
    except StoreError:
        return which  # what was done is done
    for each in found:
        if each.record.id in ids:
            which.setdefault(each.standing.value, []).append(each.record.id)
    return which
