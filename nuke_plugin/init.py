"""VOID for Nuke: Nuke runs this at its start, also in terminals and on the farm.

Promises: it takes a few milliseconds, and whatever fails is told in one line; Nuke goes on. It must not import what
needs a package (zmq, msgpack, ruamel.yaml). Written for any Python, so that an old Nuke gets a sentence, not an error.
"""


def _tell(text):
    """One line in the terminal, Nuke's own way where that works."""
    text = text.replace("Error:", "Error -")  # farms take a line with "Error:" for a failed task
    try:
        import nuke

        nuke.tprint(text)
    except Exception:  # noqa: BLE001 - nothing of VOID may stop Nuke
        import sys

        sys.stderr.write(text + "\n")


def _start(here):
    import os
    import sys

    import nuke

    loaded = getattr(sys.modules.get("void_client"), "__file__", None)
    if loaded and os.path.realpath(os.path.dirname(os.path.dirname(loaded))) != os.path.realpath(here):
        first = os.path.dirname(os.path.dirname(loaded))
        _tell("VOID is here twice: " + first + " is used, " + here + " is not. Take one of them off NUKE_PATH.")
        return
    if here not in sys.path:
        sys.path.insert(0, here)
    # The node renders without the plugin's code: its folder comes first, whatever else fails.
    for gizmos in (os.path.join(here, "gizmos"), os.path.join(os.path.dirname(here), "gizmos")):
        if os.path.isfile(os.path.join(gizmos, "VOID.gizmo")):
            nuke.pluginAddPath(gizmos.replace("\\", "/"))
            break
    if sys.version_info[:2] < (3, 9):  # noqa: UP036 - an older Nuke may run this, too
        _tell("VOID needs Nuke 14 or later: this one has Python " + sys.version.split()[0] + ", and VOID needs 3.9.")
        return
    from void_nuke import startup

    for line in startup.init(here):
        _tell(line)


try:
    import os.path as _path

    _start(_path.dirname(_path.abspath(__file__)))
except Exception as _problem:  # noqa: BLE001 - nothing of VOID may stop Nuke
    _tell("VOID could not be loaded: " + type(_problem).__name__ + ": " + str(_problem))
