"""Patience with a service: tries, waits between them, one limit over all of it.

Promises: waits double and have no chance in them, and are never shorter than the service's own ``Retry-After``; while a
call or a wait lasts, ``tick`` is called, so that a cancelled job ends within a second. Must not: know any service.
"""

from __future__ import annotations

import email.utils
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeVar

from void_client.errors import Busy, RetryableError, ServerUnreachable

from void_engine.segmentation.interface import Tick

log = logging.getLogger(__name__)
T = TypeVar("T")
_POLL_S = 0.5


@dataclass(frozen=True)
class Patience:
    """Seconds. ``timeout_s``: of one try; ``total_s``: of everything that one question takes, waits included."""

    tries: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: float = 300.0
    total_s: float = 900.0


class Away(Exception):
    """The service did not answer this time, and may the next: a 5xx, a timeout, a dropped connection, or a 429.

    ``busy``: it asks for less (429). ``retry_after``: seconds that it asks to wait, or None.
    """

    def __init__(self, message: str, *, busy: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.busy = busy
        self.retry_after = retry_after


class Attempts:
    """One question's tries. ``made`` counts them all."""

    def __init__(self, service: str, patience: Patience, tick: Tick) -> None:
        self._service = service
        self._patience = patience
        self._tick = tick
        self._end = time.monotonic() + patience.total_s
        self.made = 0

    def call(self, what: str, work: Callable[[float], T]) -> T:
        """``work(seconds)``, again after `Away`. Raises ``Busy`` or ``ServerUnreachable`` when patience is over."""
        for number in range(self._patience.tries):
            limit = min(self._patience.timeout_s, self._end - time.monotonic())
            try:
                if limit <= 0:
                    raise Away(f"it took more than {self._patience.total_s:g} seconds in all")
                self.made += 1
                return self._attended(what, work, limit)
            except Away as problem:
                wait = max(min(self._patience.first_wait_s * 2**number, self._patience.longest_wait_s),
                           problem.retry_after or 0.0)  # fmt: skip
                last = number + 1 == self._patience.tries or time.monotonic() + wait >= self._end
                log.warning("%s: %s%s", self._service, problem.message, "" if last else f"; again in {wait:g} s")
                if last:
                    raise self._over(problem) from None
            self.pause(wait, f"{self._service} is away, again in {wait:.0f} s")
        raise ValueError("patience has no tries")

    def pause(self, seconds: float, what: str) -> None:
        """Sleeps in small pieces; ``tick`` may cancel."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._tick(0, 1, what)
            time.sleep(min(_POLL_S, left))
        self._tick(0, 1, what)

    def _attended(self, what: str, work: Callable[[float], T], limit: float) -> T:
        """In a thread of its own: a library's timeout counts from byte to byte, and it cannot be cancelled."""
        done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

        def run() -> None:
            try:
                done.put((work(limit), None))
            except BaseException as error:  # noqa: BLE001  # raised again below, in the thread that waits
                done.put((None, error))

        self._tick(0, 1, what)
        # A daemon: one that hangs must not keep the process from ending.
        threading.Thread(target=run, name=f"{self._service} call", daemon=True).start()
        # The library's own timeout comes first where nothing comes at all: it says more.
        end = time.monotonic() + limit * 1.05 + 0.25
        while True:
            try:
                value, error = done.get(timeout=max(0.01, min(_POLL_S, end - time.monotonic())))
            except queue.Empty:
                self._tick(0, 1, what)
                if time.monotonic() > end:
                    raise Away(f"no whole answer within {limit:g} seconds") from None
                continue
            if error is not None:
                raise error
            return value  # type: ignore[return-value]  # where there is no error there is a value

    def _over(self, problem: Away) -> RetryableError:
        if problem.busy:
            return Busy(
                f"{self._service} takes no more requests now: {problem.message}.",
                hint="Try again later, or look at the account's quota.",
                details={"retry_after": math.ceil(problem.retry_after or self._patience.longest_wait_s)},
            )
        return ServerUnreachable(
            f"{self._service} does not answer: {problem.message}.",
            hint="Try again later, or choose another reasoner: `motion` needs no network.",
        )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks for, as seconds or as a date; None where it is not said."""
    said = headers.get("retry-after", "").strip()
    if not said:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(said)
        except ValueError:
            return None
        now = datetime.now(when.tzinfo or timezone.utc)
        seconds = (when - (now if when.tzinfo else now.replace(tzinfo=None))).total_seconds()
    return min(seconds, 7 * 86400.0) if math.isfinite(seconds) and seconds > 0 else None


def without(secret: str, text: str, limit: int = 500) -> str:
    """``text`` on one line, cut, and with no ``secret`` in it: services repeat a wrong key in their errors."""
    text = " ".join(text.split())
    if secret:
        text = text.replace(secret, "***")
        # Some show its beginning or its end only.
        for part in (secret[:8], secret[-8:]):
            text = text.replace(part, "***") if len(secret) >= 16 else text
    return text[:limit]
