"""Windows of Nuke: what is shown is kept; what is asked is answered by the test. Without a GUI they print or fail."""

from __future__ import annotations

import sys
from typing import Any, Optional

from .errors import StandinError
from .state import Dialog, S


def message(prompt: str) -> None:
    """A window with an OK button; in a terminal, a line on stdout."""
    if not isinstance(prompt, str):
        raise TypeError("message takes a string")
    S.dialogs.append(Dialog("message", prompt))
    if not S.gui:
        sys.stdout.write(prompt + "\n")


def _answer(kind: str, prompt: str) -> Any:
    if not S.gui:
        raise RuntimeError(f"Invalid function call in non-gui mode: nuke.{kind}: {prompt}")
    if not S.answers:
        raise StandinError(f"the plugin asks {prompt!r}, and the test gave no answer: standin.answer(…)")
    answer = S.answers.popleft()
    S.dialogs.append(Dialog(kind, prompt, answer))
    return answer


def ask(prompt: str) -> bool:
    return bool(_answer("ask", prompt))


def ask_with_cancel(prompt: str) -> bool:
    """Yes, no; None as the answer is Cancel, which raises."""
    answer = _answer("askWithCancel", prompt)
    if answer is None:
        from .execute import Cancelled

        raise Cancelled()
    return bool(answer)


def get_input(prompt: str, default: str = "") -> Optional[str]:
    answer = _answer("getInput", prompt)
    return None if answer is None else str(answer)


def get_filename(
    message: str, pattern: str = "", default: str = "", favorites: str = "", type: str = "", multiple: bool = False
) -> Any:
    return _answer("getFilename", message)


def choice(title: str, prompt: str, options: list, default: int = 0) -> Any:
    answer = _answer("choice", prompt)
    return options.index(answer) if answer in options else answer


def _say(kind: str, text: str) -> None:
    S.printed.append((kind, text))
    sys.stderr.write(f"{kind.upper()}: {text}\n")


def error(message: str) -> None:
    _say("error", message)


def warning(message: str) -> None:
    _say("warning", message)


def critical(message: str) -> None:
    S.dialogs.append(Dialog("error", message))
    _say("critical", message)


def debug(message: str) -> None:
    _say("debug", message)


def tprint(*values: Any, sep: str = " ", end: str = "\n", file: Any = None) -> None:
    """Print to the terminal that Nuke was started from."""
    text = sep.join(str(v) for v in values) + end
    S.printed.append(("tprint", text))
    (file or sys.stdout).write(text)
