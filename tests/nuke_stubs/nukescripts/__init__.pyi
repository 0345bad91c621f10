# What the plugin uses of nukescripts, for mypy: types-nuke describes the module nuke only.
from . import panels as panels

def start(url: str) -> None: ...
