"""Text that a knob of Nuke keeps as it is: in string knobs Nuke takes brackets and dollars for Tcl and evaluates them.

Pure: no nuke.
"""

from __future__ import annotations

import re
from typing import Final

_TCL: Final = "%[]$\\"
_CODE: Final = re.compile("%([0-9A-F]{2})")
_SHOWN: Final = str.maketrans({"[": "(", "]": ")", "$": "", "\\": "/"})


def packed(text: str) -> str:
    """For data: nothing in it means anything to Tcl, and `unpacked` gives it back."""
    return "".join(f"%{ord(letter):02X}" if letter in _TCL else letter for letter in text)


def unpacked(text: str) -> str:
    return _CODE.sub(lambda code: chr(int(code.group(1), 16)), text)


def plain(text: str) -> str:
    """For people, also on the node's label: as near as it gets without those letters."""
    return text.translate(_SHOWN)
