"""ndb: a context of its own for each message, so that none sees or saves what another left in ndb's cache.

Both kinds of ndb keep entities and what is still to be written in a context that belongs to a thread: the SDK's
(`google.appengine.ext.ndb`) and the one of Google Cloud (`google.cloud.ndb`). They are found where the application has
imported them, and never imported here.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from types import ModuleType
from typing import Any

_SDK = "google.appengine.ext.ndb.tasklets"
_SDK_LOOP = "google.appengine.ext.ndb.eventloop"
_CLOUD = "google.cloud.ndb.context"
_NOTHING = nullcontext()


def own_contexts() -> AbstractContextManager[None]:
    """A block with contexts of its own, in which all that it begins is finished."""
    return OwnContexts().finished() if _SDK in sys.modules or _CLOUD in sys.modules else _NOTHING


class OwnContexts:
    """The contexts of one message, or of one batch. They are its own in every block of `entered`."""

    def __init__(self) -> None:
        sdk, cloud = sys.modules.get(_SDK), sys.modules.get(_CLOUD)
        self._contexts: list[_SdkContext | _CloudContext] = []
        if sdk is not None and _SDK_LOOP in sys.modules:
            self._contexts.append(_SdkContext(sdk, sys.modules[_SDK_LOOP]))
        if cloud is not None:
            outer = cloud.get_context(False)
            if outer is not None:
                self._contexts.append(_CloudContext(outer))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make the contexts the current ones of this thread inside the block."""
        with ExitStack() as stack:
            for context in self._contexts:
                stack.enter_context(context.entered())
            yield

    @contextmanager
    def finished(self) -> Iterator[None]:
        """As `entered`; what was begun in the block is finished at its end, as ndb's own `toplevel` does."""
        with self.entered():
            try:
                yield
            except BaseException:
                with suppress(Exception):
                    self._finish()
                raise
            self._finish()

    async def run(self, work: Coroutine[Any, Any, object]) -> object:
        """Await `work`: the contexts are entered whenever it runs, and left while it waits."""
        return await (self._stepped(work) if self._contexts else work)

    @types.coroutine
    def _stepped(self, work: Coroutine[Any, Any, object]) -> Generator[Any, Any, object]:
        resume: Callable[[], Any] = partial(work.send, None)
        while True:
            with self.entered():
                try:
                    waited_for = resume()
                except StopIteration as end:
                    self._finish()
                    return end.value
                except BaseException:
                    with suppress(Exception):
                        self._finish()
                    raise
            try:
                resume = partial(work.send, (yield waited_for))
            except BaseException as error:  # noqa: BLE001 - it is the work's to handle
                resume = partial(work.throw, error)

    def _finish(self) -> None:
        for context in self._contexts:
            context.finish()


class _SdkContext:
    """One of the SDK's: made by ndb when it is asked for first, in a thread's state that Python code may set."""

    def __init__(self, tasklets: ModuleType, eventloop: ModuleType) -> None:
        self._tasklets = tasklets
        self._eventloop = eventloop
        self._own: Any = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        state = self._tasklets._state
        outer = state.current_context
        self._tasklets.set_context(self._own)
        try:
            yield
        finally:
            self._own = state.current_context
            self._tasklets.set_context(outer)

    def finish(self) -> None:
        own = self._tasklets._state.current_context
        if own is not None:
            own.flush().check_success()
            self._eventloop.run()


class _CloudContext:
    """One of Google Cloud's, beside an outer one: of the same client, and with a cache of its own."""

    def __init__(self, outer: Any) -> None:
        self._outer = outer
        self._own = outer.new(cache=None)

    @contextmanager
    def entered(self) -> Iterator[None]:
        kept = dict(self._outer.cache)
        try:
            with self._own.use():
                yield
        finally:
            # Leaving has copied all of it to the outer one.
            self._outer.cache.clear()
            self._outer.cache.update(kept)

    def finish(self) -> None:
        self._own.eventloop.run()
