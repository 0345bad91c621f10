"""What the command line prints stays whole lines, whoever speaks at the same time."""

from __future__ import annotations

import io
import json
import sys
import threading
import time

from void_cli.output import Output
from void_client.errors import InputError
from void_client.messages import Event


class Slow(io.StringIO):
    """Nothing is buffered, and between any two writes another thread has its turn."""

    def write(self, text: str) -> int:
        time.sleep(0.001)
        return super().write(text)


def test_shots_that_speak_at_once_never_share_a_line(monkeypatch):
    slow = Slow()
    monkeypatch.setattr(sys, "stdout", slow)

    def speak(name: str) -> None:
        output = Output(as_json=True)
        for seq in range(20):
            output.event(Event(name, seq, 0.0, "queued", {}))
            output.say("", shot=name)
            output.error(InputError(name))

    threads = [threading.Thread(target=speak, args=(f"sh{each}",)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([json.loads(line) for line in slow.getvalue().splitlines()]) == 4 * 60


def test_an_error_and_its_hint_stay_together(monkeypatch):
    written: list[str] = []
    stream = io.StringIO()
    monkeypatch.setattr(stream, "write", lambda text: written.append(text) or len(text))
    monkeypatch.setattr(sys, "stderr", stream)
    Output(as_json=False).error(InputError("No frame 1003.", hint="Render it."))
    assert written == ["void: No frame 1003.\n      Render it.\n"]
