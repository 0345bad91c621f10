"""The VOID node's behaviour in Nuke.

Promises: nothing blocks the interface, and no failure here stops Nuke. Must not: touch pixels, or be imported outside
of Nuke by anything but tests; ``description``, ``graph`` and ``gizmo`` are the exception: they need no nuke.
"""
