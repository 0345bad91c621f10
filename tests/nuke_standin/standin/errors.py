"""What the stand-in itself raises. Real errors of Nuke are raised as the built-in classes that Nuke raises."""

from __future__ import annotations


class StandinError(NotImplementedError):
    """The plugin asked for something that the stand-in does not have. Never swallowed by a callback."""


class Violation(RuntimeError):
    """The plugin broke a rule whose breach in a real Nuke crashes, hangs or corrupts. Kept in `violations()`."""


class OffMainThread(Violation):
    """A call of `nuke` from a thread that is not the main thread."""


class WouldHang(Violation):
    """`executeInMainThread*` from the main thread."""
