"""Faults that the tests have to catch: each is put into a copy of the tree, one at a time, and the tests are run.

A rule of the design that could be taken out without a test that fails is a rule nobody keeps. `make mutants` prints the
table, and fails if a fault survives. `make mutants ARGS="3 17"` tries some of them by number.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TIMEOUT_SECONDS = 600
AT_A_TIME = 2
_NEVER_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "node_modules")

# What catches most comes first. Each group is a run of its own, with the timeout to itself.
GROUPS = (
    "gaesignals/format/test_page.py gaesignals/format/test_inline.py gaesignals/format/test_slot.py "
    "gaesignals/format/test_lease.py gaesignals/format/test_taking.py gaesignals/mailbox/test_rewrite.py "
    "gaesignals/mailbox/test_renew.py gaesignals/mailbox/test_hold.py gaesignals/mailbox/test_budgets.py "
    "gaesignals/mailbox/test_lanes.py gaesignals/mailbox/test_known.py "
    "gaesignals/delivery/test_pace.py gaesignals/delivery/test_rounds.py gaesignals/delivery/test_deaths.py "
    "gaesignals/mailbox/test_send.py gaesignals/stores/test_client.py gaesignals/mailbox/test_index.py "
    "gaesignals/delivery/test_deliver.py gaesignals/mailbox/test_repair.py gaesignals/test_signal.py "
    "gaesignals/delivery/test_takeover.py gaesignals/mailbox/test_dead.py gaesignals/delivery/test_time.py "
    "gaesignals/delivery/test_poison.py gaesignals/mailbox/test_pause.py gaesignals/mailbox/test_discard.py "
    "gaesignals/delivery/test_paused.py gaesignals/mailbox/test_retries.py gaesignals/mailbox/test_contents.py "
    "gaesignals/delivery/test_coroutines.py gaesignals/delivery/test_calling.py gaesignals/test_ndb.py "
    "gaesignals/format/test_history.py gaesignals/format/test_fleet.py gaesignals/mailbox/test_history.py "
    "worker/test_history.py worker/test_statistics.py worker/test_visible.py "
    "worker/admin/test_pictures.py worker/admin/test_metrics.py worker/admin/test_instances.py "
    "worker/admin/test_later_version.py",
    "gaesignals/test_asgi.py gaesignals/test_threads.py gaesignals/test_middleware.py",
    "gaesignals/format/test_replacing.py gaesignals/mailbox/test_latest.py simulation/test_latest.py",
    "gaesignals/mailbox/test_evicted.py gaesignals/mailbox/test_failing_calls.py "
    "gaesignals/mailbox/test_memory_loss.py",
    "gaesignals/mailbox/test_growth.py gaesignals/mailbox/test_model.py",
    "simulation/test_dead_letters.py",
    "simulation/test_crashes.py",
    "simulation/test_interleavings.py",
    "simulation/test_worker_crashes.py",
    "worker/test_wakes.py worker/test_travel.py worker/test_rescue.py "
    "worker/test_tasks.py worker/test_cron.py gaesignals/stores/test_app_engine.py gaesignals/stores/test_valkey.py "
    "contract",
    "worker/access/test_tokens.py worker/access/test_keys.py worker/access/test_doors.py worker/access/test_auth.py "
    "worker/access/test_gate.py worker/test_sending.py fuzz/test_planted.py gaesignals/data/test_codec.py",
    "gaesignals/mailbox/test_durable.py gaesignals/mailbox/test_defer.py gaesignals/mailbox/test_wake.py "
    "gaesignals/format/test_rescue.py gaesignals/format/test_wake.py gaesignals/test_due.py "
    "worker/admin/test_actions.py simulation/test_durable.py",
    "gaesignals/integrations",
    "fleet simulation/test_stalled_senders.py",
)
# What is caught by one group alone has it first: the group with this test.
FIRST = {
    "gaesignals/data/bounds.py": "worker/access/test_tokens.py",
    "gaesignals/data/codec.py": "worker/access/test_tokens.py",
    "gaesignals/data/unpacking.py": "worker/access/test_tokens.py",
    "gaesignals/integrations/django.py": "gaesignals/integrations",
    "gaesignals/stores/app_engine.py": "contract",
    "gaesignals/stores/valkey.py": "contract",
    "gaesignals/stores/wire.py": "contract",
    "gaesignals/stores/talk.py": "contract",
    "gaesignals/stores/lines.py": "contract",
    "gaesignals/format/rescue.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/format/wake.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/mailbox/dead/bury.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/mailbox/cover.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/mailbox/rescue.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/mailbox/safety.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/delivery/copies.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/due.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/mailbox/defer.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/mailbox/discard.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/mailbox/waker.py": "gaesignals/mailbox/test_durable.py",
    "gaesignals/tasks/queue.py": "gaesignals/mailbox/test_durable.py",
    "worker/admin/routes.py": "gaesignals/mailbox/test_durable.py",
    "worker/queue.py": "contract",
    "worker/app.py": "simulation/test_stalled_senders.py",
    "worker/sibling_tasks.py": "contract",
    "worker/tasks.py": "contract",
    "worker/travel.py": "contract",
    "worker/rescue.py": "contract",
    "worker/cron.py": "contract",
    "worker/access/callers.py": "worker/access/test_tokens.py",
    "worker/config.py": "worker/access/test_tokens.py",
    "worker/origin.py": "worker/access/test_tokens.py",
    "worker/access/gate.py": "worker/access/test_tokens.py",
    "worker/access/keys.py": "worker/access/test_tokens.py",
    "worker/access/tokens.py": "worker/access/test_tokens.py",
}


class NotApplicableError(Exception):
    """A fault whose old text is not in its file exactly once."""


@dataclass(frozen=True)
class Fault:
    """What it breaks, and the text that is replaced in one file."""

    breaks: str
    path: str
    old: str
    new: str

    def mutated(self, root: Path = ROOT) -> str:
        """The text of the file with the fault in it."""
        text = (root / self.path).read_text(encoding="utf-8")
        count = text.count(self.old)
        if count != 1:
            raise NotApplicableError(f"{self.path} has {count} times, not once, what the fault replaces: {self.old!r}")
        return text.replace(self.old, self.new)


FAULTS = (
    # The history
    Fault(
        "what nobody counted is shown as zero",
        "gaesignals/format/history.py",
        "get(slot, {}) if slot in self.heard else None",
        "get(slot, {})",
    ),
    Fault(
        "a write to the history of unknown outcome is repeated and counts twice",
        "gaesignals/mailbox/history.py",
        "place.grain.ttl_seconds, is_mine=self._is_mine)",
        "place.grain.ttl_seconds)",
    ),
    Fault(
        "a planted span is decoded however large it is",
        "gaesignals/format/history.py",
        "if len(value) > MAX_BYTES:",
        "if False:",
    ),
    Fault(
        "a span of another hour stands for this one",
        "gaesignals/format/history.py",
        "stored == period and is_count(since_ms)",
        "is_count(since_ms)",
    ),
    Fault(
        "a later version's part of the index of dead letters counts as none",
        "gaesignals/mailbox/dead/counts.py",
        "return None if dead_names_page_of(name) in self.hidden else self.by_name.get(name, 0)",
        "return self.by_name.get(name, 0)",
    ),
    Fault(
        "letters that cannot be taken out are requeued all the same",
        "gaesignals/mailbox/dead/requeue.py",
        "        readable(seen[index], DeadNames())\n",
        "",
    ),
    Fault(
        "what a person makes a dead letter is no death in the history",
        "gaesignals/delivery/deaths.py",
        "        observer.delivered(DeliveryReport(dead=len({letter.id for letter in letters})))\n",
        "",
    ),
    Fault(
        "what memcache did not take of the history is forgotten",
        "worker/recorder.py",
        "self._left = _newest(added.refused)",
        "self._left = {}",
    ),
    Fault(
        "what others may have counted is zero while memcache is down",
        "worker/past.py",
        "0 if self.is_whole else None",
        "0",
    ),
    Fault(
        "a name on the page may mirror what stands beside it",
        "worker/visible.py",
        "if isinstance(text, Markup) or text.isprintable():",
        "if True:",
    ),
    Fault(
        "an instance that is told to stop keeps what it has counted to itself",
        "worker/app.py",
        "        if self.recorder is not None:\n            self.recorder.write()",
        "        return",
    ),
    Fault(
        "the history is written again and again within a minute",
        "worker/recorder.py",
        "self._clock() - self._written_at >= EVERY_SECONDS",
        "True",
    ),
    Fault(
        "a gap in a picture is drawn as zero",
        "worker/admin/pictures.py",
        "_stretches([not each for each in known], HEIGHT)",
        '""',
    ),
    Fault(
        "the page does not show what newer messages replaced",
        "worker/admin/pictures.py",
        "return (*_COLUMNS, *rare)",
        "return _COLUMNS",
    ),
    Fault(
        "what is not known is a metric of zero",
        "worker/admin/metrics.py",
        "if everything := ever.get(EVERYTHING):",
        'if everything := ever.get(EVERYTHING, Counted("", {}, 0)):',
    ),
    Fault(
        "a lease whose holder is gone looks like one at work",
        "worker/admin/status.py",
        "return now - self.heard_at > SILENT",
        "return False",
    ),
    Fault(
        "everything can be drained though all of it is paused or has no receiver",
        "worker/admin/status.py",
        "return self.has_work and bool(self.receivers) and not self.is_paused",
        "return self.has_work",
    ),
    # One loop, pages, claims, lanes and rounds
    Fault(
        "a dead letter counts as stored though no page of the index lists its name",
        "gaesignals/mailbox/dead/pages.py",
        "for key in self._unlisted)",
        "for key in self._todo)",
    ),
    Fault(
        "a sender whose clock is ahead delays its messages by as much",
        "gaesignals/format/slot.py",
        "return not now_ms < self.due_ms[name] <= now_ms + ahead_ms",
        "return self.due_ms[name] <= now_ms",
    ),
    Fault(
        "a retry in an hour is listed so far ahead that it counts as due now",
        "gaesignals/format/slot.py",
        "min(max(at, now_ms), now_ms + LISTED_AHEAD_MS)",
        "max(at, now_ms)",
    ),
    Fault(
        "a sender whose clock is days ahead takes its neighbours out of the index",
        "gaesignals/format/slot.py",
        "return slot if slot._fits else slot.without(slot.overdue(now_ms))",
        "return slot.without(slot.overdue(now_ms))",
    ),
    Fault(
        "a name that is delivered now and then is waited for longer and longer",
        "gaesignals/format/slot.py",
        "return slot if slot._fits else slot.without(slot.overdue(now_ms))",
        "return Slot(slot.due_ms, self.pushed_ms)",
    ),
    Fault(
        "a fan-out takes the write of another for its own",
        "gaesignals/mailbox/index/fan_out.py",
        "self._mark_ms = connection.random.randrange(_MARK_MS)",
        "self._mark_ms = 0",
    ),
    Fault(
        "failed messages leave the index while some of them are still there",
        "gaesignals/mailbox/index/unlisting.py",
        "if all(reads[key] is Absent.MISSING for key in keys)",
        "if True",
    ),
    Fault(
        "segments that memcache did not answer for are passed over with those that are missing",
        "gaesignals/mailbox/evicted.py",
        "reads[segment] is Absent.MISSING",
        "isinstance(reads[segment], Absent)",
    ),
    Fault(
        "durable messages among the segments that are passed over are never brought back",
        "gaesignals/mailbox/evicted.py",
        "loss=self._connection.new_id()",
        "loss=page.loss",
    ),
    Fault(
        "segments of which none is left are claimed sixty-four at a time, a million if a page says so",
        "gaesignals/delivery/fresh.py",
        "self._pass_over([work.claim.address for work in works if work.loaded.is_forgotten])",
        "pass",
    ),
    Fault(
        "a claim of inline messages does not burn the indexes",
        "gaesignals/format/page.py",
        "end = self.next + max(1, len(self.full_groups()))",
        "end = self.next",
    ),
    Fault(
        "a claim of inline messages burns one index, however many sealing would use",
        "gaesignals/format/page.py",
        "end = self.next + max(1, len(self.full_groups()))",
        "end = self.next + 1",
    ),
    Fault(
        "a claim burns what is left of the inline messages, not what was read",
        "gaesignals/format/taking.py",
        "return page.burnt(page.messages.behind(entries)), whole",
        "return replace(page, messages=page.messages.behind(entries)).burnt(page.messages.behind(entries)), whole",
    ),
    Fault(
        "inline messages are claimed while segments wait in front of them",
        "gaesignals/format/taking.py",
        "if taken == sealed and (entries",
        "if (entries",
    ),
    Fault(
        "a full page is appended to without being sealed",
        "gaesignals/format/page.py",
        "groups = self.full_groups()\n",
        "groups: list[Inline] = []\n",
    ),
    Fault(
        "sealing takes a group that is not full",
        "gaesignals/format/page.py",
        "            if _are_full(group):\n                groups.append(group)",
        "            if group.entries:\n                groups.append(group)",
    ),
    Fault(
        "a claim takes any number of segments",
        "gaesignals/format/taking.py",
        "min(sealed, MAX_SEGMENTS_A_CLAIM, _segments_within(page, budget))",
        "min(sealed, _segments_within(page, budget))",
    ),
    Fault(
        "a claim drops the leases",
        "gaesignals/format/page.py",
        "heaviest=0, sealed_count=0)",
        "heaviest=0, sealed_count=0, leases=())",
    ),
    Fault(
        "a claim drops the retries",
        "gaesignals/format/page.py",
        "heaviest=0, sealed_count=0)",
        "heaviest=0, sealed_count=0, retries=())",
    ),
    Fault(
        "a claim of inline messages makes a widened name narrow",
        "gaesignals/format/page.py",
        "heaviest=0, sealed_count=0)",
        "heaviest=0, sealed_count=0, width=1)",
    ),
    Fault(
        "retries are claimed before they are due",
        "gaesignals/format/page.py",
        "ref.not_before_ms and is_due(ref.not_before_ms, now_ms))",
        "ref.not_before_ms)",
    ),
    Fault(
        "small bundles of retries pile up",
        "gaesignals/format/page.py",
        "return small if len(later) > MANY_RETRIES and len(small) > 1 else ()",
        "return ()",
    ),
    Fault(
        "a page has any number of leases",
        "gaesignals/format/page.py",
        "return len(self.leases) < MAX_LEASES and leased < MAX_LEASED_BYTES",
        "return True",
    ),
    Fault(
        "planted leases and retries are read without end",
        "gaesignals/format/page.py",
        "            and len(leases) <= MAX_LEASES\n            and len(retries) <= MAX_RETRIES\n",
        "",
    ),
    Fault(
        "what failed is always before the rest",
        "gaesignals/mailbox/claim.py",
        "kinds=FAILED_FIRST if self._connection.random.random() < 0.5 else FAILED_LAST",
        "kinds=FAILED_FIRST",
    ),
    Fault(
        "what failed is always behind the rest",
        "gaesignals/mailbox/claim.py",
        "kinds=FAILED_FIRST if self._connection.random.random() < 0.5 else FAILED_LAST",
        "kinds=FAILED_LAST",
    ),
    Fault(
        "a name is narrowed while its lanes hold something",
        "gaesignals/mailbox/claim.py",
        "return all(each is not None and _is_empty(each) for each in lanes)",
        "return True",
    ),
    Fault(
        "a name is narrowed while it is hot",
        "gaesignals/format/page.py",
        "return self.width > 1 and abs(now_ms - self.hot_ms) > COLD_MS",
        "return self.width > 1",
    ),
    Fault(
        "a width holds for ever",
        "gaesignals/format/page.py",
        "return self.width > 1 and abs(now_ms - self.hot_ms) < HOT_MS",
        "return self.width > 1",
    ),
    Fault(
        "a name is never made wider",
        "gaesignals/mailbox/send.py",
        "filled = filled.heated(parcel.lane, parcel.hot_ms)",
        "pass",
    ),
    Fault(
        "whoever plans again replaces what has come since",
        "gaesignals/mailbox/parcel.py",
        "        self.may_replace = False\n",
        "",
    ),
    Fault(
        "what comes late or goes back replaces newer messages",
        "gaesignals/mailbox/box.py",
        "            replacer=replacer,\n            uncover=uncover,",
        "            replacer=self.replacer,\n            uncover=uncover,",
    ),
    Fault(
        "a full page is edited, and not sealed as it was read",
        "gaesignals/format/replacing.py",
        "    if page.is_full:\n",
        "    if False:\n",
    ),
    Fault(
        "who stalls before the first look replaces what was sent later",
        "gaesignals/format/latest.py",
        " and other.sent_us <= self.sent_us",
        "",
    ),
    Fault(
        "one tenant's message replaces another's",
        "gaesignals/format/latest.py",
        "other.namespace == self.namespace and ",
        "",
    ),
    Fault(
        "messages count as replaced by a write that did not win",
        "gaesignals/mailbox/send.py",
        "for entry in parcel.replaced]",
        "for entry in parcel.outdated]",
    ),
    Fault(
        "the task of a replaced message stays, and brings it back",
        "gaesignals/mailbox/replacer.py",
        "if entry.latest and entry.latest.safety)",
        "if False)",
    ),
    Fault(
        "coroutines of one thread look for their request where a thread has one",
        "gaesignals/request.py",
        "        context.READ_FROM_OS_ENVIRON = False\n",
        "",
    ),
    Fault(
        "a message that a coroutine sends holds up all the others",
        "gaesignals/signal.py",
        "return await asyncio.to_thread(partial(self.send, data, delay_seconds=delay_seconds, at=at))",
        "return self.send(data, delay_seconds=delay_seconds, at=at)",
    ),
    Fault(
        "a delivery before one request holds up all the others",
        "gaesignals/asgi.py",
        "await asyncio.to_thread(deliver)",
        "deliver()",
    ),
    Fault(
        "the task of a large dead letter does not notice that memcache has forgotten its body",
        "gaesignals/mailbox/rescue.py",
        "return Answer.KEPT if keep_body(mailbox, mine, record) else Answer.AWAY",
        "return Answer.KEPT",
    ),
    Fault(
        "a late write to a lane is not vouched for",
        "gaesignals/mailbox/send.py",
        "if parcel.target and (self._is_late(parcel) or not is_certain):",
        "if parcel.target and not is_certain:",
    ),
    Fault(
        "a write to a lane whose answer was lost is not vouched for",
        "gaesignals/mailbox/send.py",
        "if parcel.target and (self._is_late(parcel) or not is_certain):",
        "if parcel.target and self._is_late(parcel):",
    ),
    Fault(
        "a process remembers its lane for ever",
        "gaesignals/mailbox/lanes.py",
        "return lane if abs(now_ms - hot_ms) < HOT_MS else 0",
        "return lane",
    ),
    Fault(
        "what a lane's page lost goes back to the lane",
        "gaesignals/mailbox/hold.py",
        "self._open.setdefault(page_key(back.claim.name), []).append(back)",
        "self._open.setdefault(back.claim.address.key, []).append(back)",
    ),
    Fault(
        "a write that was carried out twice counts as lost",
        "gaesignals/mailbox/rewrite.py",
        "            return Fate.FOUND\n",
        "            return Fate.LOST\n",
    ),
    Fault(
        "a write of unknown outcome is planned anew where its key has changed",
        "gaesignals/mailbox/rewrite.py",
        "return Fate.LOST if is_other else Fate.UNSURE",
        "return Fate.LOST",
    ),
    Fault(
        "nobody looks for the mark of the writer before",
        "gaesignals/mailbox/rewrite.py",
        "return Fate.LOST if is_other else Fate.UNSURE",
        "return Fate.UNSURE",
    ),
    Fault(
        "what is known is taken for what was read",
        "gaesignals/mailbox/known.py",
        "if entry is not None and entry.stored == stored else None",
        "if entry is not None else None",
    ),
    Fault(
        "what a recollection does not write is not checked",
        "gaesignals/mailbox/known.py",
        "        if not writes:\n            return []\n",
        "        return []\n",
    ),
    Fault(
        "a page is sealed as it is known",
        "gaesignals/mailbox/known.py",
        "return isinstance(value, Page) and value.is_full",
        "return False",
    ),
    Fault(
        "a check that fails is none",
        "gaesignals/mailbox/rewrite.py",
        "Fate.STORED if is_sure else Fate.FOUND",
        "Fate.STORED",
    ),
    Fault(
        "what is repeated is sure of what was checked the first time",
        "gaesignals/mailbox/rewrite.py",
        "is_sure = is_confirmed and not plan.is_recalled",
        "is_sure = is_confirmed",
    ),
    Fault(
        "what a recollection writes anew need not be as it was recalled",
        "gaesignals/mailbox/known.py",
        "return set(outdated).issubset(marked)",
        "return not set(outdated).intersection(self._checked)",
    ),
    Fault(
        "what others write too is recalled again and again",
        "gaesignals/mailbox/known.py",
        "self._known.shun(key, now_ms)",
        "pass",
    ),
    Fault(
        "a recollection that is out of date counts as a loss",
        "gaesignals/mailbox/send.py",
        "            if not plan.is_recalled:\n",
        "            if True:\n",
    ),
    Fault(
        "what the newest replaces is recalled",
        "gaesignals/mailbox/parcel.py",
        "return self.cover is None and self.latest is None",
        "return self.cover is None",
    ),
    Fault(
        "the page of a durable message is recalled",
        "gaesignals/mailbox/parcel.py",
        "return self.cover is None and self.latest is None",
        "return self.latest is None",
    ),
    Fault(
        "the second pass is made of a recollection, too",
        "gaesignals/mailbox/rewrite.py",
        "if first is None and attempt == 0:",
        "if first is None:",
    ),
    Fault(
        "a value is known by another id than it has",
        "gaesignals/mailbox/known.py",
        "Seen(State.FOUND, value, write.new_cas), now_ms)",
        "Seen(State.FOUND, value, b'another id'), now_ms)",
    ),
    Fault(
        "a check stores an empty value",
        "gaesignals/stores/valkey.py",
        "        if value == '' then -- it is as it was\n        elseif seconds",
        "        if seconds",
    ),
    Fault(
        "a send returns before its name is in the index",
        "gaesignals/mailbox/send.py",
        "parcel.stage = Stage.SLOT if parcel.is_touching or not is_certain else Stage.DONE",
        "parcel.stage = Stage.DONE",
    ),
    Fault(
        "a send says of what may be stored that it is not",
        "gaesignals/mailbox/send.py",
        '            parcel.end(Stage.UNSURE, "the store failed and the page has changed since")',
        '            parcel.end(Stage.FAILED, "the store failed and the page has changed since")',
    ),
    Fault(
        "a send that took long does not list its name once more",
        "gaesignals/mailbox/send.py",
        "if parcel.stage is Stage.SLOT and (parcel in self._unlisted or not is_slow):",
        "if parcel.stage is Stage.SLOT:",
    ),
    Fault(
        "settling does not look once more after a removal",
        "gaesignals/mailbox/index/unlisting.py",
        "    _look_again(connection, [name for name in empty if name in removed])\n",
        "",
    ),
    Fault(
        "settling takes out a widened name",
        "gaesignals/mailbox/index/unlisting.py",
        "return page is not None and (page.is_waiting or (page.width > 1 and address.lane == 0))",
        "return page is not None and page.is_waiting",
    ),
    Fault(
        "a fan-out dispatches what another one won",
        "gaesignals/mailbox/index/fan_out.py",
        "        if fate is Fate.LOST:\n            return",
        "        if fate is Fate.LOST:\n            self.won.update(self._names[plan.key])\n            return",
    ),
    Fault(
        "a fan-out dispatches what is paused",
        "gaesignals/mailbox/index/fan_out.py",
        "won = chosen - self._paused",
        "won = chosen",
    ),
    Fault(
        "what a lost lease refers to is deleted",
        "gaesignals/mailbox/hold.py",
        "        self.missed.append(_missed(self._open.pop(key), reason))",
        "        back = self._open.pop(key)\n        self.won.append(back.end)\n        self.missed.append(_missed(back, reason))",  # noqa: E501
    ),
    Fault(
        "what was not begun goes back in one bundle",
        "gaesignals/mailbox/hold.py",
        "in_bundles(due, most=half)",
        "in_bundles(due, most=MAX_BUNDLE_MESSAGES)",
    ),
    Fault(
        "what goes back is forgotten where the page is gone",
        "gaesignals/mailbox/hold.py",
        "            if back.refs:\n",
        "            if False:\n",
    ),
    Fault(
        "what goes back to a page that is gone is not in the index",
        "gaesignals/mailbox/hold.py",
        "            self._list(planted)\n",
        "",
    ),
    Fault(
        "a lease is taken over that somebody changed meanwhile",
        "gaesignals/mailbox/renew.py",
        "return page.find_lease(lease_of(claim).id) == claim.lease",
        "return page.find_lease(lease_of(claim).id) is not None",
    ),
    Fault(
        "a round never ends",
        "gaesignals/limits.py",
        "return min(MAX_ROUND_SECONDS, self.lease_seconds / 4)",
        "return self.lease_seconds * 1000",
    ),
    Fault(
        "a delivery may end before it has begun a message",
        "gaesignals/delivery/round.py",
        "(self.run_count > 0 and self.mailbox.monotonic() >= time)",
        "(self.mailbox.monotonic() >= time)",
    ),
    Fault(
        "a round may end before it has begun a message",
        "gaesignals/delivery/round.py",
        "end = self.until if self.run_count > self.begun_at else self.limits.deadline",
        "end = self.until",
    ),
    Fault(
        "a round begins what its delivery has no time for",
        "gaesignals/delivery/round.py",
        "return self.messages_left == 0 or self._is_past(end)",
        "return self.messages_left == 0 or (self.run_count > self.begun_at and self._is_past(self.until))",
    ),
    Fault(
        "names take no turns",
        "gaesignals/delivery/turns.py",
        "            if self._round.mailbox.monotonic() >= started + TURN_SECONDS:\n                break\n",
        "",
    ),
    Fault(
        "a claim does not grow with the pace",
        "gaesignals/delivery/pace.py",
        "size = min(LARGEST_CLAIM, int(seconds / max(self._seconds_each[name], 1e-6)))",
        "size = FIRST_CLAIM",
    ),
    Fault(
        "a delivery goes on for as long as messages come",
        "gaesignals/delivery/backlog.py",
        "if name in names and count > 0]",
        "if name in names]",
    ),
    Fault(
        "leases that ran out wait for what is fresh",
        "gaesignals/delivery/fresh.py",
        ".claim_unless_expired())",
        ".claim())",
    ),
    Fault(
        "leases that run out during a delivery are taken over, too",
        "gaesignals/delivery/fresh.py",
        "            if not self._round.is_over:\n"
        "                claimed = self._claim([name for name in self._matches if name not in elsewhere])\n",
        "            if not self._round.is_over:\n"
        "                claimed = self._noted(self._matches, self._claimer(self._matches).claim_unless_expired())\n"
        "                self._take_over(claimed.expired)\n",
    ),
    Fault(
        "weak messages that were not begun are not sent back",
        "gaesignals/delivery/returning.py",
        "error = self._send_again([(work.name, record) for work, back in ends for record in back])",
        "error = None",
    ),
    Fault(
        "slow weak messages that cannot be sent again are dropped",
        "gaesignals/delivery/returning.py",
        "work.waiting.extend(record for record in back if record.id in error.failed)",
        "pass",
    ),
    Fault(
        "what a later version wrote is read again and again",
        "gaesignals/mailbox/rewrite.py",
        "self._give_up_on(self._failing() | _newer(seen))",
        "self._give_up_on(self._failing())",
    ),
    Fault(
        "retries that are not due run with those that are",
        "gaesignals/delivery/work.py",
        "(work.waiting if is_due(chosen.not_before_ms, now_ms) else work.later).append(chosen)",
        "work.waiting.append(chosen)",
    ),
    Fault(
        "a long handler keeps the rest of its segment",
        "gaesignals/delivery/returning.py",
        "return not self._pace.is_of_one_batch(work.name) or self._hand_back(work, most)",
        "return True",
    ),
    # Data
    Fault(
        "messages of a page that cannot be read are not counted",
        "gaesignals/mailbox/load.py",
        "if holding.entries.entries and not inline:",
        "if False:",
    ),
    Fault(
        "messages of a page are read though they are not as many as it says",
        "gaesignals/format/inline.py",
        "if count_messages(entries) == self.count:",
        "if True:",
    ),
    Fault(
        "a segment is made of bytes that are not those of its page",
        "gaesignals/format/inline.py",
        "return parts if joined(parts) == self else (self,)",
        "return parts",
    ),
    Fault(
        "a bundle counts for all that is in it, whatever its page says",
        "gaesignals/mailbox/load.py",
        "seen.value[: entry.count]",
        "seen.value",
    ),
    Fault(
        "a map of data may have numbers as its keys before they are looked at",
        "gaesignals/data/codec.py",
        "strict_hashable_types=True",
        "strict_hashable_types=False",
    ),
    Fault(
        "keys of the same hash are counted, and not what it takes to compare them",
        "gaesignals/data/bounds.py",
        "return sum((alike[hash(each)] * _size(each) for each in key), start=1)",
        "return 1",
    ),
    Fault(
        "an integer that was read may be of any size",
        "gaesignals/data/unpacking.py",
        "if type(value) is not int or value.bit_length() > MAX_INTEGER_BITS:",
        "if type(value) is not int:",
    ),
    Fault(
        "an identifier may be of anything that has sixteen parts",
        "gaesignals/data/unpacking.py",
        "if type(value) is not bytes or len(value) != 16:",
        "if len(value) != 16:",
    ),
    # Pages
    Fault(
        "a page with leases expires",
        "gaesignals/format/page.py",
        "not (self.is_waiting or self.leases or self.retries)",
        "not (self.is_waiting or self.retries)",
    ),
    Fault(
        "a page with retries expires",
        "gaesignals/format/page.py",
        "not (self.is_waiting or self.leases or self.retries)",
        "not (self.is_waiting or self.leases)",
    ),
    Fault(
        "a widened home page expires",
        "gaesignals/format/page.py",
        "self.leases or self.retries) and self.width == 1",
        "self.leases or self.retries)",
    ),
    Fault(
        "a segment's key does not have its page's epoch",
        "gaesignals/format/keys.py",
        'return f"gs:s:{epoch}:{index}".encode()',
        'return f"gs:s:{index}".encode()',
    ),
    # Sending
    Fault(
        "a slot is not touched where the name is there already",
        "gaesignals/mailbox/parcel.py",
        "    return not (page.is_waiting and slot.is_listed_since(",
        "    return not (slot.is_listed_since(",
    ),
    Fault(
        "a name that is missing from its slot, or will be soon, is not listed where messages wait",
        "gaesignals/mailbox/parcel.py",
        "        if not slot.is_keeping(self.name, self.planned_ms):",
        "        if False:",
    ),
    # The service's own messages
    Fault(
        "a compare-and-set is sent to memcache as a set",
        "gaesignals/stores/app_engine.py",
        "Cas: pb.MemcacheSetRequest.CAS",
        "Cas: pb.MemcacheSetRequest.SET",
    ),
    Fault(
        "a key that failed reads as a miss",
        "gaesignals/stores/app_engine.py",
        '    if status != _GET.HIT or item is None or not item.HasField("cas_id"):\n        return Absent.FAILED',
        '    if status != _GET.HIT or item is None or not item.HasField("cas_id"):\n        return Absent.MISSING',
    ),
    Fault(
        "a read that failed as a whole reads as misses",
        "gaesignals/stores/app_engine.py",
        "return dict.fromkeys(wanted, Absent.FAILED)",
        "return dict.fromkeys(wanted, Absent.MISSING)",
    ),
    # Commands to a Valkey or Redis server
    Fault(
        "a compare-and-set overwrites what came between",
        "gaesignals/stores/valkey.py",
        "    if expected ~= found and expected",
        "    if found == '' and expected ~= '' and expected",
    ),
    Fault(
        "a key that a server did not answer for reads as a miss",
        "gaesignals/stores/valkey.py",
        "dict.fromkeys(wanted, Absent.FAILED)",
        "dict.fromkeys(wanted, Absent.MISSING)",
    ),
    Fault(
        "a script whose answer was lost is sent again",
        "gaesignals/stores/valkey.py",
        "if isinstance(error, NoScriptError) for key in part]",
        "for key in part]",
    ),
    Fault(
        "a list in the place of a page fails the whole call",
        "gaesignals/stores/valkey.py",
        "if not string.find(found.err, 'WRONGTYPE', 1, true) then return found end",
        "do return found end",
    ),
    Fault(
        "an answer that nobody waited for is taken for another",
        "gaesignals/stores/talk.py",
        "        if self._outstanding or self._is_replica:",
        "        if self._is_replica:",
    ),
    Fault(
        "a write counts as stored that no replica has confirmed",
        "gaesignals/stores/talk.py",
        "if isinstance(confirmed, Exception) or confirmed < needed:",
        "if isinstance(confirmed, Exception):",
    ),
    Fault(
        "replicas are to confirm what was only checked",
        "gaesignals/stores/valkey.py",
        "write.key for write in writes if not isinstance(write, Check)}",
        "write.key for write in writes}",
    ),
    Fault(
        "a key is never looked for where it has moved",
        "gaesignals/stores/wire.py",
        "            command.reopen(error, node)",
        "            pass",
    ),
    Fault(
        "nobody asks again which node has which slots",
        "gaesignals/stores/wire.py",
        "            self._is_stale, self._suspect = True, node",
        "            pass",
    ),
    Fault(
        "a server that has become a Cluster is never found out",
        "gaesignals/stores/wire.py",
        "            self._info = None  # it",
        "            pass  # it",
    ),
    Fault(
        "a key with a namespace is looked for on another node first",
        "gaesignals/stores/wire.py",
        "key_slot(self._prefix + command.keys[0])",
        "key_slot(command.keys[0])",
    ),
    Fault(
        "a child process talks on the connections of its parent",
        "gaesignals/stores/lines.py",
        "if connection.pid == os.getpid() and ",
        "if ",
    ),
    Fault(
        "a child process waits for a thread of its parent",
        "gaesignals/stores/lines.py",
        "return self._own_pool().get_connection()",
        "return self._pool.get_connection()",
    ),
    Fault(
        "a connection that the server has closed is used",
        "gaesignals/stores/lines.py",
        " or not connection.can_read()",
        " or bool(connection.pid)",
    ),
    Fault(
        "what has become a replica is asked again and again",
        "gaesignals/stores/talk.py",
        "self._is_replica or isinstance(error, ReadOnlyError)",
        "self._is_replica",
    ),
    Fault(
        "a failed read counts as evicted",
        "gaesignals/stores/client.py",
        "return Seen(State.FAILED)",
        "return Seen(State.MISSING)",
    ),
    # Claims
    Fault(
        "deliveries do not read the lanes of a widened name",
        "gaesignals/mailbox/lanes.py",
        "return homes | (read_addresses(connection, lanes) if lanes else {})",
        "return homes",
    ),
    Fault(
        "the last lane of a widened name is not read",
        "gaesignals/mailbox/lanes.py",
        "range(1, seen.value.width)",
        "range(1, seen.value.width - 1)",
    ),
    Fault(
        "a lease is taken over as soon as it ran out",
        "gaesignals/format/lease.py",
        "return is_due(lease.expires_ms + GRACE_MS, now_ms)",
        "return is_due(lease.expires_ms, now_ms)",
    ),
    # Running what was claimed
    Fault(
        "a large message stands under its id, where a delete of an earlier delivery may find it",
        "gaesignals/mailbox/bundles.py",
        "made = bundle(new_id(), [record])",
        "made = bundle(new_id() if record.receivers else record.id, [record])",
    ),
    Fault(
        "the weak messages of a name whose turn did not come are not sent back",
        "gaesignals/delivery/fresh.py",
        "self._returning.send_back([work for work in works if not work.is_reliable])",
        "self._returning.send_back([work for work in works if not work.is_reliable and (work.runs or not work.unrun)])",
    ),
    Fault(
        "a lease is acknowledged though part of it could not be read",
        "gaesignals/delivery/fresh.py",
        "elif not loaded.is_whole:",
        "elif False:",
    ),
    Fault(
        "messages whose dead letters could not be stored are acknowledged",
        "gaesignals/delivery/round.py",
        "            if name in unburied:",
        "            if False:",
    ),
    Fault(
        "messages whose dead letters could not be stored come again at once",
        "gaesignals/delivery/round.py",
        "replace(letter.record, not_before_ms=not_before_ms)",
        "letter.record",
    ),
    Fault(
        "what a batch marked as failed is done if it then drops the rest",
        "gaesignals/delivery/calling.py",
        "                self._log_drop(self._raised)\n",
        "                self._log_drop(self._raised)\n                return\n",
    ),
    Fault(
        "what fails stands behind all that was given back since",
        "gaesignals/mailbox/hold.py",
        "return max(record.not_before_ms, record.sent_us // 1000)",
        "return record.not_before_ms",
    ),
    Fault(
        "what fails at once again is before all others",
        "gaesignals/mailbox/hold.py",
        "return max(record.not_before_ms, record.sent_us // 1000)",
        "return record.sent_us // 1000",
    ),
    Fault(
        "a retry waits for whatever its subclass says",
        "gaesignals/delivery/calling.py",
        "after = wait_of(retry)",
        "after = retry.after_seconds",
    ),
    Fault(
        "a traceback that cannot be written stops the delivery",
        "gaesignals/delivery/verdict.py",
        "    except Exception:  # noqa: BLE001 - what an application wrote",
        "    except MemoryError:  # noqa: BLE001 - what an application wrote",
    ),
    Fault(
        "an attempt is not counted",
        "gaesignals/format/entries.py",
        "attempt=self.attempt + 1,",
        "attempt=self.attempt,",
    ),
    Fault(
        "a coroutine handler counts as done without having run",
        "gaesignals/delivery/calling.py",
        "await coroutines.bounded(OwnContexts().run(finish_soon(work)))",
        "work.close()",
    ),
    Fault(
        "a stale holder goes on running coroutine handlers",
        "gaesignals/delivery/runner.py",
        "        self._guard()\n        await Call(",
        "        await Call(",
    ),
    Fault(
        "a batch that raises costs all of its messages an attempt",
        "gaesignals/delivery/calling.py",
        "elif self._receiver.reliable and len(self._pairs) > 1:",
        "elif False:",
    ),
    Fault(
        "a message that waits for one receiver passes for that of another",
        "gaesignals/format/page.py",
        "return entries.encoded in self.messages.encoded",
        "return entries.encoded[:27] in self.messages.encoded",
    ),
    Fault(
        "a batch that asks for a retry takes its neighbours along when it is the last one",
        "gaesignals/delivery/calling.py",
        "if is_batch and self._asked(retry).is_last(run.record):",
        "if False:",
    ),
    Fault(
        "a retry for a receiver that is not deployed everywhere yet is buried at once",
        "gaesignals/delivery/verdict.py",
        "if run.record.unknown_since_ms and now_ms >= run.record.unknown_since_ms + UNKNOWN_MS:",
        "if True:",
    ),
    Fault(
        "a retry that is held begins its hour anew each time",
        "gaesignals/delivery/verdict.py",
        "since_ms = record.unknown_since_ms or now_ms",
        "since_ms = now_ms",
    ),
    Fault(
        "a handler that failed leaves its context of ndb to the next one",
        "gaesignals/ndb.py",
        "self._tasklets.set_context(self._own)",
        "pass",
    ),
    Fault(
        "the age of a message is that of its sending though it was requeued",
        "gaesignals/format/entries.py",
        "return self.due_ms or self.sent_us // 1000",
        "return self.sent_us // 1000",
    ),
    Fault(
        "weak receivers run in a takeover",
        "gaesignals/delivery/verdict.py",
        "    return _planned(record, matches, _reliable(matches))",
        "    return _planned(record, matches, matches)",
    ),
    Fault(
        "a receiver that succeeded runs again with one that failed",
        "gaesignals/delivery/verdict.py",
        "record.charged(receivers=(failed.receiver,),",
        "record.charged(receivers=(),",
    ),
    # Leases
    Fault(
        "a takeover does not charge the message that was being run, which is forgotten",
        "gaesignals/delivery/takeover.py",
        "        self._charge(walk, matches)\n",
        "",
    ),
    Fault(
        "a takeover runs the message at the position at once",
        "gaesignals/delivery/takeover.py",
        "if done is not None and position <= done:",
        "if done is not None and position < done:",
    ),
    Fault(
        "a weak receiver sees what a takeover gave back",
        "gaesignals/delivery/takeover.py",
        "    if not weak:\n        return (record,)\n",
        "    return (record,)\n",
    ),
    Fault(
        "a weak receiver sees what a takeover gave back for receivers by name",
        "gaesignals/delivery/takeover.py",
        "if receiver not in weak)",
        "if receiver not in weak or record.receivers)",
    ),
    Fault(
        "a takeover drops the marks of the one before it",
        "gaesignals/delivery/takeover.py",
        "_Walk(mine, loaded, list(mine.lease.marks))",
        "_Walk(mine, loaded, [])",
    ),
    Fault(
        "a takeover runs retries that are not due",
        "gaesignals/delivery/takeover.py",
        "elif not is_due(record.not_before_ms, self._mailbox.now_ms()):",
        "elif False:",
    ),
    Fault(
        "a takeover goes on though part of the lease could not be read",
        "gaesignals/delivery/takeover.py",
        "        if not loaded.is_whole:\n            self._round.leave_unread(claim)\n            return\n",
        "",
    ),
    # The index
    Fault(
        "a name is due earlier than now",
        "gaesignals/format/slot.py",
        "min(max(at, now_ms), now_ms + LISTED_AHEAD_MS)",
        "min(at, now_ms + LISTED_AHEAD_MS)",
    ),
    Fault(
        "settling takes out a name that somebody has just listed",
        "gaesignals/format/slot.py",
        "return name in self.due_ms and abs(self.due_ms[name] - now_ms) < FRESH_MS",
        "return False",
    ),
    # Discarding
    # What memory loss, failing calls and growth have found
    Fault(
        "empty pages never expire",
        "gaesignals/format/page.py",
        "return EMPTY_TTL_SECONDS if self.is_empty else 0",
        "return 0",
    ),
    Fault(
        "a page's first segment may be followed by any number of them",
        "gaesignals/format/lease.py",
        "first <= next_ <= first + MAX_SEGMENTS_A_CLAIM",
        "first <= next_",
    ),
    Fault(
        "a time years ahead is waited for",
        "gaesignals/format/entries.py",
        "return not now_ms < at_ms <= now_ms + LONGEST_WAIT_MS",
        "return at_ms <= now_ms",
    ),
    Fault(
        "a corrupt value raises",
        "gaesignals/stores/client.py",
        "        return Seen(State.CORRUPT, cas=read.cas)",
        "        raise",
    ),
    Fault(
        "what a later version wrote is replaced",
        "gaesignals/stores/client.py",
        "return Seen(State.NEWER, cas=read.cas)",
        "return Seen(State.CORRUPT, cas=read.cas)",
    ),
    Fault(
        "an answer that is too large is not asked for in parts",
        "gaesignals/stores/client.py",
        "reads = {} if self.took_long(started_ms) else self._gets_in_parts(chunk)",
        "reads = {}",
    ),
    Fault(
        "a value that is too large stops the whole call",
        "gaesignals/stores/client.py",
        "fitting = [write for write in writes if len(write.value) <= limits.value_bytes]",
        "fitting = list(writes)",
    ),
    Fault(
        "what is not plain bytes is taken for ours",
        "gaesignals/stores/app_engine.py",
        'return Found(b"" if item.flags else item.value, item.cas_id)',
        "return Found(item.value, item.cas_id)",
    ),
    Fault(
        "a name that is about to be dropped from the index is not listed anew",
        "gaesignals/format/slot.py",
        "return self.due_ms.get(name, 0) > now_ms - MAX_OVERDUE_MS // 2",
        "return name in self.due_ms",
    ),
    Fault(
        "a slot without room takes one more name",
        "gaesignals/format/slot.py",
        "return self.due_ms.keys() >= frozenset(names) or self.with_due(dict.fromkeys(names, now_ms), now_ms)._fits",
        "return True",
    ),
    Fault(
        "settling takes out a name whose message may be on its way still",
        "gaesignals/format/slot.py",
        "return name in self.due_ms and abs(self.due_ms[name] - now_ms) < FRESH_MS",
        "return False",
    ),
    Fault(
        "a takeover acknowledges what it had no time for",
        "gaesignals/delivery/takeover.py",
        "merged(spilled + _marked(walk) + walk.unrun)",
        "merged(spilled + _marked(walk))",
    ),
    Fault(
        "a takeover forgets what it spilled after its last position",
        "gaesignals/delivery/takeover.py",
        "merged(spilled + _marked(walk) + walk.unrun)",
        "merged(_marked(walk) + walk.unrun)",
    ),
    Fault(
        "a name with dead letters is counted by what its page had before the index was read",
        "gaesignals/mailbox/dead/pages.py",
        "                self._counts.pop(key, None)\n",
        "                pass\n",
    ),
    Fault(
        "the count of a dead page is written in place of another that is later",
        "gaesignals/mailbox/dead/pages.py",
        "if index not in self._index_ids or self._index_ids[index] != seen.cas:",
        "if index not in self._index_ids:",
    ),
    Fault(
        "the body of a letter that has no place on its page is stored for ever",
        "gaesignals/mailbox/dead/pages.py",
        " | before.bodies | {body.key for body in self._bodies.get(name, ())}",
        " | before.bodies",
    ),
    Fault(
        "a sender relies on a slot that it read before the page",
        "gaesignals/mailbox/parcel.py",
        "slot.is_listed_since(self.name, page.listed_ms, self.planned_ms)",
        "slot.is_listed_since(self.name, 0, self.planned_ms)",
    ),
    Fault(
        "a conflict counts as lost though nobody could look for the mark",
        "gaesignals/mailbox/rewrite.py",
        "Fate.LOST if plan.is_mine is None else Fate.UNSURE",
        "Fate.UNSURE if plan.is_unsure else Fate.LOST",
    ),
    Fault(
        "what was written and then taken out by others counts as never written",
        "gaesignals/mailbox/rewrite.py",
        "return stored.has_mark(mark) or (",
        "return (",
    ),
    Fault(
        "a page has the mark of its last writer alone",
        "gaesignals/format/page.py",
        "marks=(self.marks + mark)[-MAX_MARKS * MARK_BYTES :]",
        "marks=mark",
    ),
    Fault(
        "any part of the marks passes for one",
        "gaesignals/format/page.py",
        "any(self.marks.startswith(mark, at) for at in range(0, len(self.marks), MARK_BYTES))",
        "mark in self.marks",
    ),
    Fault(
        "a page does not say when its name was listed",
        "gaesignals/mailbox/send.py",
        "            filled = replace(filled, listed_ms=now_ms)\n",
        "            pass\n",
    ),
    Fault(
        "a name that was pushed counts as listed when it was pushed",
        "gaesignals/format/slot.py",
        "listed_ms -= self.pushed_ms[name] + FRESH_MS",
        "listed_ms -= self.pushed_ms[name]",
    ),
    Fault(
        "a time ahead counts as a time of listing",
        "gaesignals/format/slot.py",
        "return at_ms <= listed_ms <= now_ms",
        "return at_ms <= listed_ms",
    ),
    Fault(
        "receivers of one id are counted together",
        "worker/labels.py",
        "return receiver.id if self._times[receiver.id] < 2 else",
        "return receiver.id if True else",
    ),
    Fault(
        "whoever requeues a dead letter takes out a later one of the same message",
        "gaesignals/mailbox/dead/requeue.py",
        "if old not in letters))",
        "if not any(old.is_same(gone) for gone in letters)))",
    ),
    Fault(
        "a dead letter has the body of an earlier one, which may be about to be deleted",
        "gaesignals/mailbox/dead/bury.py",
        'bundle(f"dead.{mailbox.new_id()}", [letter.record])',
        'bundle(f"dead.{letter.id}", [letter.record])',
    ),
    Fault(
        "the bodies of dead letters expire",
        "gaesignals/mailbox/dead/bury.py",
        "replace(body.write(mailbox.now_ms()), ttl_seconds=0)",
        "body.write(mailbox.now_ms())",
    ),
    # Durable messages, and waking
    Fault(
        "memcache may lose a segment without a trace for those who look later",
        "gaesignals/mailbox/hold.py",
        "            if back.end.lost:\n",
        "            if False:\n",
    ),
    Fault(
        "a task that could not be deleted brings back what is done",
        "gaesignals/mailbox/safety.py",
        "        if marked:\n",
        "        if False:\n",
    ),
    Fault(
        "whoever lost a lease deletes the tasks of what goes back",
        "gaesignals/delivery/returning.py",
        "release(self._mailbox.safety, [(work, back) for work, back in ends if id(work.claim) not in missed])",
        "release(self._mailbox.safety, ends)",
    ),
    Fault(
        "a rescue takes a page with something in it for done",
        "gaesignals/format/rescue.py",
        "return Duty.SEND if is_lost else Duty.KEPT",
        "return Duty.DONE",
    ),
    Fault(
        "a rescue brings again what still waits",
        "gaesignals/format/rescue.py",
        "return Duty.SEND if is_lost else Duty.KEPT",
        "return Duty.SEND",
    ),
    Fault(
        "one lost segment brings a whole backlog again",
        "gaesignals/format/rescue.py",
        "tries + 1 >= TRIES_UNTIL_A_LOSS_COUNTS",
        "True",
    ),
    Fault(
        "a rescue takes another page for that of its message",
        "gaesignals/format/rescue.py",
        "if place is None or page is None or page.epoch != place.epoch:",
        "if place is None or page is None:",
    ),
    Fault(
        "a rescue takes a silent memcache for one that has forgotten",
        "gaesignals/mailbox/rescue.py",
        "    if any(reads[key] is Absent.FAILED for key in wanted):\n        return Answer.AWAY\n",
        "",
    ),
    Fault(
        "what a rescue brings is durable no more",
        "gaesignals/mailbox/rescue.py",
        'replace(record, safety="", is_resent',
        "replace(record, safety=None, is_resent",
    ),
    Fault(
        "a rescue leaves a name out of the index",
        "gaesignals/mailbox/rescue.py",
        "    if name not in slot.due_ms:\n",
        "    if False:\n",
    ),
    Fault(
        "a durable message splits into one record a receiver",
        "gaesignals/delivery/work.py",
        "return merged([",
        "return list([",
    ),
    Fault(
        "a durable message that memcache does not take is not brought",
        "gaesignals/mailbox/send.py",
        "                uncover(safety, parcel.cover, parcel.reason)\n",
        "                close(safety, parcel.cover, now_ms=connection.now_ms())\n",
    ),
    Fault(
        "a durable send slower than its task relies on it",
        "gaesignals/mailbox/cover.py",
        "    if now_ms - cover.added_ms > safety.slow_seconds * 1000:\n",
        "    if False:\n",
    ),
    Fault(
        "a takeover deletes the tasks of what an earlier one sent back",
        "gaesignals/delivery/takeover.py",
        "finished(walk.done, back)",
        "finished((record for _, record in walk.loaded.items), back)",
    ),
    Fault(
        "dead letters of durable messages have no task",
        "gaesignals/mailbox/dead/bury.py",
        "    if not durable:\n",
        "    if True:\n",
    ),
    Fault(
        "a requeued dead letter is durable no more",
        "gaesignals/mailbox/dead/requeue.py",
        'safety="" if record.is_durable else None',
        "safety=None",
    ),
    Fault(
        "weak receivers see what is brought back",
        "gaesignals/delivery/verdict.py",
        "is_new = not record.is_resent and (",
        "is_new = (",
    ),
    Fault(
        "a busy name wakes the worker for every message",
        "gaesignals/format/wake.py",
        "task_ms=None if is_second else wake_ms",
        "task_ms=wake_ms",
    ),
    Fault(
        "a name at rest has no task until the next fan-out",
        "gaesignals/format/wake.py",
        "    return Promise(now_ms + PACE_MS, is_second=False, task_ms=now_ms)",
        "    return Promise(now_ms + PACE_MS, is_second=False)",
    ),
    Fault(
        "what comes behind the first task of a name has none",
        "gaesignals/format/wake.py",
        "task_ms=None if is_second else wake_ms",
        "task_ms=None",
    ),
    Fault(
        "a promise of a clock that was wrong is waited for",
        "gaesignals/format/wake.py",
        "    if now_ms < wake_ms <= now_ms + MAX_GATHER_MS + PACE_MS:",
        "    if now_ms < wake_ms:",
    ),
    Fault(
        "gathering is forgotten",
        "gaesignals/format/wake.py",
        "after_ms = max(gather_ms, PACE_MS - age_ms if is_second else 0)",
        "after_ms = max(0, PACE_MS - age_ms if is_second else 0)",
    ),
    Fault(
        "a message that is not stored wakes the worker",
        "gaesignals/mailbox/send.py",
        "for p in parcels if p.stage is Stage.DONE and p.task_ms is not None",
        "for p in parcels if p.task_ms is not None",
    ),
    Fault(
        "a wake task that the queue does not take fails the send",
        "gaesignals/mailbox/waker.py",
        "        except TaskError as error:\n",
        "        except ZeroDivisionError as error:\n",
    ),
    Fault(
        "retries of a name that does not wake have tasks",
        "worker/tasks.py",
        "if name in settled.waking and at > since",
        "if at > since",
    ),
    Fault(
        "a retry that becomes due while its name is settled waits for the fan-out",
        "worker/tasks.py",
        "settled.waking and at > since",
        "settled.waking and at > now",
    ),
    Fault(
        "what a delivery leaves alone has a task after each task",
        "worker/tasks.py",
        "settled.waking and at > since",
        "settled.waking and at > 0",
    ),
    Fault(
        "retries of a name that wakes wait for the fan-out",
        "worker/tasks.py",
        "        self._wakes.wake(settled, since=started_at)\n",
        "",
    ),
    Fault(
        "each delivery adds a task for the same retries",
        "worker/tasks.py",
        " and not now < self._promised.get(name, 0) <= at",
        "",
    ),
    Fault(
        "a name that is resumed waits for cron",
        "worker/admin/routes.py",
        "            desk.dispatcher.fan_out_named(names)\n            return count",
        "            return count",
    ),
    Fault(
        "a name that was handed over is handed over again",
        "worker/tasks.py",
        "names = task.names if task.is_handed_over else pass_on(task)",
        "names = pass_on(task)",
    ),
    Fault(
        "a task that arrived in another queue is delivered there",
        "worker/tasks.py",
        "names = task.names if task.is_handed_over else pass_on(task)",
        "names = task.names",
    ),
    Fault(
        "a queue that does not exist keeps its names",
        "worker/queue.py",
        "            if error.is_missing and tasks[0].queue:\n",
        "            if False:\n",
    ),
    Fault(
        "a durable message is stored without its task",
        "gaesignals/mailbox/send.py",
        "            if parcel.cover and failure:\n",
        "            if False:\n",
    ),
    Fault(
        "a durable send relies on the task of a page that is another now",
        "gaesignals/mailbox/cover.py",
        "if not cover.is_added or cover.place != place",
        "if not cover.is_added",
    ),
    Fault(
        "every conflict adds a task to a durable send",
        "gaesignals/mailbox/cover.py",
        "if not cover.is_added or cover.place != place",
        "if True",
    ),
    Fault(
        "the tasks of earlier attempts of a durable send stay",
        "gaesignals/mailbox/cover.py",
        "        cover.old += cover.tasks\n",
        "",
    ),
    Fault(
        "tasks that were added for part of a failed send stay",
        "gaesignals/mailbox/cover.py",
        " and safety.release_tasks(known)",
        "",
    ),
    Fault(
        "a durable message may be too large for its task",
        "gaesignals/mailbox/box.py",
        "            if is_deferred or record.is_durable:\n",
        "            if False:\n",
    ),
    Fault(
        "a task has no room for what is said of a message later",
        "gaesignals/tasks/queue.py",
        "MAX_BODY_BYTES: Final = 100_000",
        "MAX_BODY_BYTES: Final = 90_000",
    ),
    Fault(
        "a task whose name did not come back brings what is done",
        "gaesignals/mailbox/safety.py",
        "            replace(message.record, safety=names[place] or rescues[place].marker)\n",
        '            replace(message.record, safety=names[place] or "")\n',
    ),
    Fault(
        "a rescue does not look for markers",
        "gaesignals/mailbox/rescue.py",
        "        return Answer.DONE\n    if any(reads[key] is Absent.FAILED for key in wanted):",
        "        pass\n    if any(reads[key] is Absent.FAILED for key in wanted):",
    ),
    Fault(
        "a rescue leaves a lane out of its home page",
        "gaesignals/mailbox/rescue.py",
        "    if place.lane:\n        repair(mailbox, [name])\n",
        "",
    ),
    Fault(
        "a page that lost something and is empty counts as done",
        "gaesignals/format/rescue.py",
        "    return Duty.DONE if page.loss == place.loss else Duty.SEND",
        "    return Duty.DONE",
    ),
    Fault(
        "a rescue brings again what is done",
        "gaesignals/format/rescue.py",
        "    return Duty.DONE if page.loss == place.loss else Duty.SEND",
        "    return Duty.SEND",
    ),
    Fault(
        "a rescue takes a page with leases alone for empty",
        "gaesignals/format/rescue.py",
        "is_bare = not (page.is_waiting or page.leases or page.retries)",
        "is_bare = not (page.is_waiting or page.retries)",
    ),
    Fault(
        "a rescue takes a page with retries alone for empty",
        "gaesignals/format/rescue.py",
        "is_bare = not (page.is_waiting or page.leases or page.retries)",
        "is_bare = not (page.is_waiting or page.leases)",
    ),
    Fault(
        "of copies of a durable message all are run",
        "gaesignals/delivery/copies.py",
        "        if len(copies) < 2:\n",
        "        if True:\n",
    ),
    Fault(
        "of copies of a durable message the one is run whose task has ended",
        "gaesignals/delivery/copies.py",
        "max(copies, key=lambda copy: copy.brought)",
        "min(copies, key=lambda copy: copy.brought)",
    ),
    Fault(
        "of copies of a durable message the attempts begin anew",
        "gaesignals/delivery/copies.py",
        "attempt=max(copy.attempt for copy in copies)",
        "attempt=min(copy.attempt for copy in copies)",
    ),
    Fault(
        "nobody counts how often a message was brought",
        "gaesignals/mailbox/rescue.py",
        "brought=record.brought + 1",
        "brought=1",
    ),
    Fault(
        "what goes back of a delivery has no task any more",
        "gaesignals/mailbox/safety.py",
        "return [record for record in records if record.safety and record.safety not in kept]",
        "return [record for record in records if record.safety]",
    ),
    Fault(
        "a weak delivery leaves the tasks of what it ran",
        "gaesignals/delivery/returning.py",
        "        release(self._mailbox.safety, ends)\n        for work in works:\n            self._count(work)",
        "        for work in works:\n            self._count(work)",
    ),
    Fault(
        "what is discarded comes back by its tasks",
        "gaesignals/mailbox/discard.py",
        "    mailbox.safety.release(durable)\n",
        "",
    ),
    Fault(
        "a dropped dead letter comes back by its task",
        "gaesignals/mailbox/dead/pages.py",
        "    mailbox.safety.release_tasks(changing.tasks())\n",
        "",
    ),
    Fault(
        "dead letters without a task are acknowledged",
        "gaesignals/mailbox/dead/bury.py",
        "    return missed | uncovered",
        "    return missed",
    ),
    Fault(
        "a dead letter that did not fit is put back for ever",
        "gaesignals/mailbox/dead/bury.py",
        "        mailbox.safety.release(letter.record for letter in group if letter.record.safety not in kept)\n",
        "",
    ),
    Fault(
        "a dead letter that is put back pushes another one out",
        "gaesignals/mailbox/dead/bury.py",
        "return page if is_there or len(page.letters) >= most else",
        "return page if is_there else",
    ),
    Fault(
        "a durable message has weak receivers alone and nobody says so",
        "gaesignals/delivery/work.py",
        "            safety.tell_of_weak(work.name)\n",
        "            pass\n",
    ),
    Fault(
        "a name that is filled in travels in no special way",
        "gaesignals/signal.py",
        "return _signal(Template.literal(self.template.fill(**fields)), self.data_type, filled_from, self.way)",
        "return _signal(Template.literal(self.template.fill(**fields)), self.data_type, filled_from)",
    ),
    Fault(
        "weak receivers do not get what was for later",
        "gaesignals/mailbox/rescue.py",
        "is_resent=record.is_resent or not found.is_first",
        "is_resent=True",
    ),
    Fault(
        "what was for later does not wake the worker",
        "gaesignals/format/entries.py",
        '    "u": ("wake_ms", int),\n',
        "",
    ),
    Fault(
        "a message for later has waited since it was sent",
        "gaesignals/mailbox/box.py",
        "            due_ms = int((due or 0) * 1000)",
        "            due_ms = 0",
    ),
    Fault(
        "the messages of a transaction have a task each",
        "gaesignals/format/rescue.py",
        "        if chunk and size + cost > max_bytes:\n",
        "        if chunk:\n",
    ),
    Fault(
        "a transaction is given more tasks than it takes",
        "gaesignals/mailbox/defer.py",
        "    if transactional and len(made) > MAX_TASKS_A_TRANSACTION:\n",
        "    if False:\n",
    ),
    Fault(
        "a time that is just past is an error",
        "gaesignals/due.py",
        "if not -PAST_SECONDS <= ahead",
        "if not 0 <= ahead",
    ),
    Fault(
        "a name at rest waits for the end of a promise that nobody keeps",
        "gaesignals/format/wake.py",
        "if is_waiting and age_ms < OVERDUE_MS:",
        "if is_waiting:",
    ),
    # The worker
    Fault(
        "a task whose hand-over was refused is answered 200",
        "worker/tasks.py",
        "503 if shift.refused else 200",
        "200",
    ),
    Fault(
        "what a task has no time for is not handed over",
        "worker/tasks.py",
        "rest = report.more if is_time_up else ()",
        "rest: tuple[str, ...] = ()",
    ),
    Fault(
        "doors: a token chooses its algorithm",
        "worker/access/tokens.py",
        "if algorithm != self._issuer.algorithm:",
        "if False:",
    ),
    Fault(
        "doors: a token for another service is good here",
        "worker/access/tokens.py",
        "audience=self._audience, clock_skew",
        "audience=None, clock_skew",
    ),
    Fault(
        "doors: without an audience in the settings, a token for any is good",
        "worker/access/tokens.py",
        "if not self._audience:",
        "if False:",
    ),
    Fault(
        "doors: anybody may have issued a token",
        "worker/access/tokens.py",
        'if not any(claims.get("iss") == name for name in self._issuer.names):',
        "if False:",
    ),
    Fault(
        "doors: each forged token has the keys fetched",
        "worker/access/keys.py",
        " and self._clock() >= self._fetch_from:",
        ":",
    ),
    Fault(
        "pause: a delivery goes on with a name that was paused",
        "gaesignals/mailbox/claim.py",
        " for home in homes if home.name not in self._result.paused}",
        " for home in homes}",
    ),
    Fault(
        "pause: what waits of a paused name counts as nothing",
        "gaesignals/delivery/fresh.py",
        " for name in names if name not in claimed.paused}",
        " for name in names}",
    ),
    Fault(
        "siblings: a task that waited for its place brings in more, and a backlog keeps all places and the line",
        "worker/sibling_tasks.py",
        " and waited_seconds <= CROWDED_SECONDS",
        "",
    ),
    Fault(
        "siblings: the right to bring in more ends with the one that found nothing",
        "worker/sibling_tasks.py",
        "MAX_SIBLINGS // 2 if allowed is None else 0",
        "0",
    ),
    Fault(
        "siblings: names that had no turn go on behind those that had",
        "worker/sibling_tasks.py",
        "[part for part in (begun, *parts) if part]",
        "[[*begun, *others]] if names else []",
    ),
    Fault(
        "siblings: who goes on with what others left takes sixteen of each name",
        "worker/tasks.py",
        "ALONE if siblings is None else JOINING",
        "ALONE",
    ),
    Fault(
        "siblings: who finds that others have everything does not look again",
        "gaesignals/delivery/fresh.py",
        "elif not claimed.claims and self._opening.looks_again(claimed):",
        "elif False:",
    ),
    Fault(
        "siblings: a task keeps its place for as long as there is work",
        "worker/app.py",
        "TASK_SECONDS = 10.0",
        "TASK_SECONDS = 120.0",
    ),
    Fault(
        "doors: keys that were withdrawn stay good",
        "worker/access/keys.py",
        "return self._keys.get(key_id) if self._clock() < self._expires_at else None",
        "return self._keys.get(key_id)",
    ),
    Fault(
        "doors: whoever comes through IAP is an administrator",
        "worker/access/callers.py",
        "if self._is_listed(visitor):",
        "if True:",
    ),
    Fault(
        "doors: a page of another site changes things for an administrator",
        "worker/access/callers.py",
        "            # Whoever it is, and with a bearer token too: a proxy may add that to whatever a browser sends.\n"
        "            check_same_site(request)\n",
        "            pass\n",
    ),
    Fault(
        "doors: an address passes for another that it is folded like",
        "worker/config.py",
        'return email.lower() if email.isascii() else ""',
        "return email.casefold()",
    ),
    Fault(
        "doors: the local server is called by whatever name a page chooses",
        "worker/origin.py",
        "name in request.environ.get(LOCAL_NAMES, ())",
        "name",
    ),
    Fault(
        "doors: the local server answers other machines unasked",
        "worker/origin.py",
        "request.environ.get(LOCAL_CALLERS)",
        "not request.environ.get(LOCAL_CALLERS)",
    ),
    Fault(
        "doors: who may call the administrators' routes may send, too",
        "worker/access/callers.py",
        'self._settings.oidc_senders, "SIGNALS_OIDC_SENDERS")',
        'self._settings.oidc_senders | self._settings.oidc_callers, "SIGNALS_OIDC_SENDERS")',
    ),
    Fault(
        "doors: what the SDK answers by itself is asked of anybody",
        "worker/access/gate.py",
        "if which is not None:",
        "if False:",
    ),
    Fault(
        "doors: a header chooses where the app is mounted, for all that comes after it",
        "worker/access/gate.py",
        'environ["SCRIPT_NAME"] = ""',
        "pass",
    ),
    Fault(
        "rescue: a dead letter whose name memcache has taken out of the index is found by nobody",
        "gaesignals/mailbox/rescue.py",
        "return not listed.is_writable or",
        "return True or",
    ),
    Fault(
        "retries: the neighbours of one that is changed are not written before the page refers to them",
        "gaesignals/mailbox/retries.py",
        "[each.write(self._connection.now_ms()) for each in made],",
        "[],",
    ),
    Fault(
        "retries: what nobody can tell the outcome of counts as done",
        "gaesignals/mailbox/retries.py",
        "if fate not in (Fate.STORED, Fate.FOUND):",
        "if fate is Fate.LOST:",
    ),
    Fault(
        "retries: one is taken out though its letter may not be stored",
        "gaesignals/mailbox/retries.py",
        "if letters and bury(mailbox, {name: letters}, most=most):",
        "if letters and bury(mailbox, {name: letters}, most=most) and False:",
    ),
    Fault(
        "retries: letters that push each other out",
        "gaesignals/mailbox/retries.py",
        "if record.id in ids][:most]",
        "if record.id in ids]",
    ),
    Fault(
        "retries: one that is dropped keeps the task that brings it back",
        "gaesignals/mailbox/retries.py",
        "    mailbox.safety.release(replacing.done)",
        "    pass",
    ),
    Fault(
        "a listener that fails has a task enqueued twice",
        "gaesignals/integrations/django.py",
        "task_enqueued.send_robust(",
        "task_enqueued.send(",
    ),
    Fault(
        "a planted name has the worker import any module",
        "gaesignals/integrations/django.py",
        "not in sys.modules and apps.get_containing_app_config(path) is None:",
        "in ():",
    ),
    Fault(
        "the worker calls whatever a path names",
        "gaesignals/integrations/django.py",
        "if not isinstance(found, Task):",
        "if False:",
    ),
    # Small claims
    Fault(
        "claims: a page is full at sixty-four messages",
        "gaesignals/format/page.py",
        "FULL_MESSAGES: Final = 16\n",
        "FULL_MESSAGES: Final = 64\n",
    ),
    Fault(
        "claims: what one send has for a name is in few large bundles",
        "gaesignals/mailbox/bundles.py",
        "most = most or page.FULL_MESSAGES",
        "most = most or MAX_BUNDLE_MESSAGES",
    ),
    Fault(
        "claims: a full page is sealed as one segment, however much it holds",
        "gaesignals/format/page.py",
        "for entry in self.messages.split():",
        "for entry in (self.messages,):",
    ),
    Fault(
        "claims: one send seals, and one claim burns, any number of groups",
        "gaesignals/format/page.py",
        "if len(groups) == MAX_GROUPS:",
        "if False:",
    ),
    Fault(
        "claims: the inline messages of a page are taken all together",
        "gaesignals/format/taking.py",
        "return joined(_within(entries.split(), budget))",
        "return entries if budget.messages else NOTHING",
    ),
    Fault(
        "claims: the first is of a thousand messages",
        "gaesignals/delivery/pace.py",
        "FIRST_CLAIM: Final = 16\n",
        "FIRST_CLAIM: Final = 1000\n",
    ),
    Fault(
        "claims: one is of all that waits, where it is quick",
        "gaesignals/delivery/pace.py",
        "LARGEST_CLAIM: Final = 1000\n",
        "LARGEST_CLAIM: Final = 100_000\n",
    ),
    Fault(
        "claims: one is of ten seconds' work",
        "gaesignals/delivery/pace.py",
        "CLAIM_SECONDS: Final = 1.0\n",
        "CLAIM_SECONDS: Final = 10.0\n",
    ),
    Fault(
        "claims: one is of more than the rest of the round is enough for",
        "gaesignals/delivery/pace.py",
        "seconds = min(CLAIM_SECONDS, seconds_left)",
        "seconds = CLAIM_SECONDS",
    ),
    Fault(
        "claims: one is of sixteen messages in each lane of a name",
        "gaesignals/mailbox/claim.py",
        "sizes[address.name] -= claim.holding.count",
        "pass",
    ),
    Fault(
        "claims: of handlers of an hour, sixteen are claimed at once",
        "gaesignals/delivery/opening.py",
        "if _declared(group) > LEASE_SECONDS}",
        "if False}",
    ),
    Fault(
        "claims: help is asked for before the rest of a segment is back",
        "gaesignals/delivery/fresh.py",
        "            works = self._returning.set_aside(works)\n"
        "            self._mailbox.observer.claimed({work.name: len(work.waiting) for work in works})\n"
        "            # Where all leases are taken, a helper would find nothing.\n"
        "            self._leftovers.note(self._round.tally.more & {work.name for work in works})\n",
        "            self._leftovers.note(self._round.tally.more & {work.name for work in works})\n"
        "            works = self._returning.set_aside(works)\n"
        "            self._mailbox.observer.claimed({work.name: len(work.waiting) for work in works})\n",
    ),
    Fault(
        "claims: help is asked for when the handlers have run",
        "gaesignals/delivery/fresh.py",
        "            self._leftovers.note(self._round.tally.more & {work.name for work in works})\n"
        "            self._turns.take(works)\n",
        "            self._turns.take(works)\n"
        "            self._leftovers.note(self._round.tally.more & {work.name for work in works})\n",
    ),
    Fault(
        "claims: a round takes longer than a short lease lasts",
        "gaesignals/limits.py",
        "return min(MAX_ROUND_SECONDS, self.lease_seconds / 4)",
        "return MAX_ROUND_SECONDS",
    ),
    Fault(
        "claims: who has little time always begins with the same names",
        "gaesignals/delivery/fresh.py",
        "if round_.limits.is_bounded:",
        "if False:",
    ),
    Fault(
        "claims: a mapping's order is not kept where there is time for all",
        "gaesignals/delivery/fresh.py",
        "if round_.limits.is_bounded:",
        "if True:",
    ),
    Fault(
        "claims: names that had no turn in a round wait for those that had",
        "gaesignals/delivery/turns.py",
        "deque(sorted(works, key=lambda work: self._pace.seconds(work.name)))",
        "deque(works)",
    ),
    Fault(
        "claims: what was not begun goes back in one piece, where it is little",
        "gaesignals/mailbox/hold.py",
        "-(-len(due) // 2)",
        "len(due)",
    ),
    Fault(
        "claims: what failed together goes back in small bundles",
        "gaesignals/mailbox/hold.py",
        "in_bundles(later, most=MAX_BUNDLE_MESSAGES)",
        "in_bundles(later)",
    ),
    Fault(
        "claims: what was not begun is charged an attempt",
        "gaesignals/delivery/work.py",
        "for record in verdict.unbegun] + [*self.waiting]",
        "for record in verdict.unbegun] + [r.charged(receivers=(), not_before_ms=0, error='') for r in self.waiting]",
    ),
    Fault(
        "claims: a small one takes all that was handed back",
        "gaesignals/format/taking.py",
        "        refs = refs[:1]\n",
        "        pass\n",
    ),
    Fault(
        "claims: a large one takes a single bundle of what was handed back",
        "gaesignals/format/taking.py",
        "if budget.messages is not None and budget.messages <= pages.FULL_MESSAGES:",
        "if True:",
    ),
    Fault(
        "claims: what is fresh comes before what was handed back",
        "gaesignals/format/taking.py",
        "FAILED_LAST: Final = (_take_handed_back, _take_fresh, ",
        "FAILED_LAST: Final = (_take_fresh, _take_handed_back, ",
    ),
    Fault(
        "claims: what was handed back is before the coin, and what failed waits for as long as it comes",
        "gaesignals/format/taking.py",
        "FAILED_FIRST: Final = (_take_failed, _take_handed_back, ",
        "FAILED_FIRST: Final = (_take_handed_back, _take_failed, ",
    ),
    Fault(
        "claims: bundles that are due are claimed only to be written together",
        "gaesignals/format/page.py",
        "later = [ref for ref in self.retries if not is_due(ref.not_before_ms, now_ms)]",
        "later = [*self.retries]",
    ),
    Fault(
        "claims: what is not due has its turn in this delivery again",
        "gaesignals/delivery/returning.py",
        "self._count_back(work.name, len(work.unrun))",
        "self._count_back(work.name, len(work.going_back()))",
    ),
    Fault(
        "claims: a takeover ends with the round and not with the delivery",
        "gaesignals/delivery/takeover.py",
        "if walk.unrun or self._round.is_over or",
        "if walk.unrun or self._round.is_late or",
    ),
    Fault(
        "claims: a takeover keeps all other names of its task waiting",
        "gaesignals/delivery/fresh.py",
        "if self._on_expired is None or len(self._matches) == 1:",
        "if True:",
    ),
    Fault(
        "claims: a delivery does not ask between messages whether it is to stop",
        "gaesignals/delivery/round.py",
        "return self.limits.should_stop() or (self.run_count > 0",
        "return (self.run_count > 0",
    ),
    Fault(
        "claims: a lease lasts as long as its caller says, whatever the receivers declare",
        "gaesignals/limits.py",
        "return max([lease_seconds, *(seconds or 0 for seconds in declared)])",
        "return lease_seconds",
    ),
    Fault(
        "claims: handlers of an hour share a task with quick names",
        "worker/travel.py",
        "            if self.is_alone(name):",
        "            if False:",
    ),
    Fault(
        "claims: a lease that somebody took over counts as ended by its holder",
        "gaesignals/mailbox/hold.py",
        "return self._connection.now_ms() < lease_of(claim).expires_ms + GRACE_MS",
        "return True",
    ),
    Fault(
        "claims: what goes back is lost with a page that came anew",
        "gaesignals/mailbox/hold.py",
        "elif page is None or page.epoch != back.claim.epoch:",
        "elif page is None:",
    ),
    Fault(
        "claims: a name is weak as long as one of its receivers is",
        "gaesignals/delivery/fresh.py",
        "if any(match.receiver.reliable for match in group)",
        "if all(match.receiver.reliable for match in group)",
    ),
    Fault(
        "pause: a delivery learns of it with its first round alone",
        "gaesignals/delivery/fresh.py",
        "paused=self._find_paused,",
        "paused=None if self._round.run_count else self._find_paused,",
    ),
    Fault(
        "siblings: a backlog has the one task that cron gave it",
        "worker/sibling_tasks.py",
        "        if self._may_ask:\n",
        "        if False:\n",
    ),
    Fault(
        "siblings: a task brings in one for each of its names",
        "worker/sibling_tasks.py",
        "            self._may_ask = False\n",
        "",
    ),
    Fault(
        "claims: what one process held when it died is taken over by one",
        "gaesignals/delivery/fresh.py",
        "            self._leftovers.note(self._shared(mine))\n",
        "",
    ),
    # Hot names
    Fault(
        "width: one loss widens a name",
        "gaesignals/mailbox/widening.py",
        "LOSSES_TO_WIDEN = 2\n",
        "LOSSES_TO_WIDEN = 1\n",
    ),
    Fault(
        "width: a name has more lanes than a page may say",
        "gaesignals/mailbox/widening.py",
        "range(width, 2 * width) if width < MAX_WIDTH else range(MAX_WIDTH)",
        "range(width, 2 * width)",
    ),
    Fault(
        "width: a loss at a wide name that has cooled counts towards doubling it",
        "gaesignals/mailbox/parcel.py",
        "return self.is_hot or self.width == 1",
        "return True",
    ),
    Fault(
        "width: a name that has cooled is never hot again",
        "gaesignals/mailbox/send.py",
        "if parcel.lane != parcel.target:",
        "if parcel.lane >= parcel.width:",
    ),
    Fault(
        "width: any send keeps a name hot",
        "gaesignals/mailbox/send.py",
        "if parcel.lane != parcel.target:",
        "if not parcel.target and (parcel.lane or parcel.width > 1):",
    ),
    Fault(
        "width: senders use a lane that the home page does not have",
        "gaesignals/mailbox/parcel.py",
        "self.lane if self.is_hot and self.lane < self.width else 0",
        "self.lane",
    ),
    Fault(
        "width: a lane that works is forgotten at once",
        "gaesignals/mailbox/lanes.py",
        "            self._lanes[name] = lane, hot_ms\n",
        "",
    ),
    Fault(
        "width: a process remembers its lane for a minute after each send",
        "gaesignals/mailbox/send.py",
        "self._lanes.keep(parcel.name, lane, parcel.hot_ms)",
        "self._lanes.keep(parcel.name, lane, self._connection.now_ms())",
    ),
    Fault(
        "width: a name is narrowed as soon as senders do not use its lanes",
        "gaesignals/format/page.py",
        "COLD_MS: Final = 300_000\n",
        "COLD_MS: Final = 60_000\n",
    ),
    Fault(
        "width: a home page that somebody changed is narrowed by lanes that were read before",
        "gaesignals/mailbox/claim.py",
        "            self._lanes = {}\n",
        "            pass\n",
    ),
    Fault(
        "width: who vouches for a lane does not list its name",
        "gaesignals/mailbox/send.py",
        "parcel.stage = Stage.SLOT if fate is Fate.STORED else Stage.LANE",
        "parcel.stage = Stage.DONE if fate is Fate.STORED else Stage.LANE",
    ),
    Fault(
        "width: who vouches for a lane does not make the home page hot",
        "gaesignals/mailbox/send.py",
        "heated(parcel.target, self._connection.now_ms())",
        "heated(parcel.target, home.value.hot_ms if home.value else 0)",
    ),
    Fault(
        "width: who narrows a name leaves it in the index",
        "gaesignals/delivery/fresh.py",
        "self._mailbox.emptied.add(sorted(claimed.narrowed))",
        "pass",
    ),
    Fault(
        "width: nobody finds the lanes of a home page that was evicted",
        "gaesignals/mailbox/repair.py",
        "for lane in range(page.width, MAX_WIDTH) if",
        "for lane in range(page.width, page.width) if",
    ),
    # How names travel, what brings messages back, and what cron calls
    Fault(
        "a name that has to travel alone is delivered in the task of many that it came in",
        "worker/travel.py",
        "if self.queue_of(name) != arrived_in or (len(names) > 1 and self.is_alone(name))",
        "if self.queue_of(name) != arrived_in",
    ),
    Fault(
        "a name with a queue of its own goes out in the worker's",
        "worker/travel.py",
        "together.setdefault(queue, [])",
        "together.setdefault(self._own, [])",
    ),
    Fault(
        "the door does not know the queues of the receivers",
        "worker/travel.py",
        "frozenset([self._own, *(receiver.queue for receiver in self._receivers if receiver.queue)])",
        "frozenset([self._own])",
    ),
    Fault(
        "a rescue takes each try for the first",
        "worker/rescue.py",
        '_count(headers.get("X-AppEngine-TaskRetryCount"))',
        "0",
    ),
    Fault(
        "a rescue does not know which task it is, so that no marker ends it",
        "worker/rescue.py",
        'headers.get("X-AppEngine-TaskName", "")',
        '""',
    ),
    Fault(
        "a rescue that has to come again is answered as if it were done",
        "worker/rescue.py",
        "rescued.answer.value",
        "200",
    ),
    Fault(
        "a fan-out that the queue refused looks well to cron",
        "worker/cron.py",
        "503 if dispatch.has_failed else 200",
        "200",
    ),
    Fault(
        "a fan-out that the queue refused looks well on the page",
        "worker/cron.py",
        "        if not dispatch.has_failed:\n            note",
        "        if True:\n            note",
    ),
    Fault(
        "what cron sends waits for the next fan-out",
        "worker/cron.py",
        "Way(wake_ms=0)",
        "Way()",
    ),
    Fault(
        "fixed names are looked at once in the life of an instance",
        "worker/cron.py",
        "if self._last is None or now - self._last >= self._seconds:",
        "if self._last is None:",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """What the tests said of one tree. `caught_by` is None where they all passed."""

    caught_by: str | None
    seconds: float


def judge(fault: Fault | None) -> Verdict:
    """Run the tests on a copy of the tree with `fault` in it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder, "tree")
        shutil.copytree(ROOT, tree, ignore=_NEVER_COPIED)
        if fault is not None:
            (tree / fault.path).write_text(fault.mutated(tree), encoding="utf-8")
        caught_by = next(filter(None, _failures(tree, _groups(fault))), None)
    return Verdict(caught_by, time.monotonic() - started)


def _groups(fault: Fault | None) -> list[str]:
    """All groups, in the order in which they are run."""
    groups = list(GROUPS)
    first = FIRST.get(fault.path) if fault is not None else None
    return sorted(groups, key=lambda group: first not in group.split())


def _failures(tree: Path, groups: Sequence[str]) -> Iterator[str | None]:
    """The first test that fails in each group, if any."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    for group in groups:
        paths = [f"tests/{path}" for path in group.split()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *paths]
        try:
            done = subprocess.run(
                command, cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            yield f"{paths[0]}, which does not come to an end"
        else:
            yield None if done.returncode == 0 else _first_failure(done.stdout + done.stderr)


def _first_failure(output: str) -> str:
    for line in output.splitlines():
        if line.startswith(("FAILED tests/", "ERROR tests/")):
            return line.split(" ", 1)[1].split(" - ")[0].removeprefix("tests/")
    return "the tests do not start: " + (output.strip().splitlines() or ["no output"])[-1]


def _chosen(numbers: Sequence[int]) -> list[tuple[int, Fault | None]]:
    """Faults with their numbers; 0 is the tree as it is, which has to pass, or else nothing below it means anything."""
    everything: list[tuple[int, Fault | None]] = [(0, None), *enumerate(FAULTS, start=1)]
    return [everything[number] for number in numbers] if numbers else everything


def _number(text: str) -> int:
    """The number of a fault, or 0. `choices` would refuse that none is given."""
    if not 0 <= (number := int(text)) <= len(FAULTS):
        raise ValueError
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make mutants", description="Put faults into the code; the tests have to fail."
    )
    parser.add_argument("numbers", nargs="*", type=_number, metavar="NUMBER")
    chosen = _chosen(parser.parse_args(arguments).numbers)
    try:
        for _, fault in chosen:
            if fault is not None:
                fault.mutated()
    except NotApplicableError as error:
        print(error, file=sys.stderr)
        return 2
    wrong = 0
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        verdicts = pool.map(judge, [fault for _, fault in chosen])
        for (number, fault), verdict in zip(chosen, verdicts, strict=True):
            is_right = (fault is None) == (verdict.caught_by is None)
            wrong += not is_right
            what = fault.breaks if fault else "nothing: the tree as it is"
            caught_by = verdict.caught_by or ("passes" if fault is None else "SURVIVES")
            print(f"{number:3}  {what:82}  {verdict.seconds:6.1f} s  {caught_by}", flush=True)
            if fault is None and not is_right:
                print("the tests do not pass without a fault, so that a fault they fail with is not caught by them")
                pool.shutdown(cancel_futures=True)
                return 1
    print(f"{len(chosen)} tried, {wrong} not as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
