"""VOID for Nuke: Nuke's GUI runs this after init.py. The menu, the toolbar, favourites.

Promises: as init.py. Where the plugin could not be loaded, the menu says why.
"""


def _explain(text):
    """A menu that holds nothing but the reason."""
    import nuke

    nuke.menu("Nuke").addMenu("VOID").addCommand("VOID could not be loaded...", lambda: nuke.message(text))


def _start():
    import sys

    if sys.version_info[:2] < (3, 9):  # noqa: UP036 - an older Nuke may run this, too
        _explain("VOID needs Nuke 14 or later: this one has Python " + sys.version.split()[0] + ", and VOID needs 3.9.")
        return
    from void_nuke import startup

    startup.menu()


try:
    _start()
except Exception as _problem:  # noqa: BLE001 - nothing of VOID may stop Nuke
    _text = "VOID could not be loaded: " + type(_problem).__name__ + ": " + str(_problem)
    try:
        _explain(_text + "\n\nYour TD can run `void nuke check`.")
    except Exception:  # noqa: BLE001 - the same
        import sys as _sys

        _sys.stderr.write(_text + "\n")
