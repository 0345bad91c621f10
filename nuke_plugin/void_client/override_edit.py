"""Editing a sidecar: `set_entry` and `remove_entry` change one entry and leave every other byte as it is.

Where lines can be exchanged, they are; where not (JSON, entries inside brackets, a file without a list), the file is
written anew with its comments and unknown keys. Promises: what is written says exactly what was meant, or nothing is
written; writes are atomic. Must not: decide what an entry may be.
"""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from .errors import JobError
from .manifest import write_durably
from .override_entry import ENTRY_KEYS, BadEntry, parse_entry
from .overrides import load_text

_KEY = "overrides"
_BOM = "\ufeff"
Edit = Callable[[Any], None]


def set_entry(path: Path, entry: Mapping[str, Any], *, node: str = "", index: Optional[int] = None) -> int:
    """Add an entry, or replace the one at ``index``, for ``node`` (uuid or name; "" the file's own). Returns its index.

    The file is made where there is none. A replaced entry keeps its unknown keys and its comments. Raises ``JobError``
    for an entry that cannot be meant, an index that is not there, or a file that cannot be read; also ``OSError``.
    """
    plain = _plain(entry)
    try:
        parse_entry(plain, "entry")
    except BadEntry as bad:
        raise JobError(f"The override's {bad.key}: {bad.fault}.", details={"key": str(bad.key)}) from bad
    text = _read(path)
    count = len(entries_in(_load(text, path), node))
    place = count if index is None else _checked(index, count, path)

    def edit(document: Any) -> None:
        found = _list(document, node)
        if place == len(found):
            found.append(copy.deepcopy(plain))
            return
        old = found[place]
        if not isinstance(old, dict):
            found[place] = copy.deepcopy(plain)
            return
        for key in ENTRY_KEYS:
            if key in old and key not in plain:
                del old[key]
        for key, value in plain.items():
            if key not in old or _plain(old[key]) != value:
                old[key] = copy.deepcopy(value)

    _rewrite(path, text, edit, node, place, count)
    return place


def remove_entry(path: Path, index: int, *, node: str = "") -> None:
    """Raises as `set_entry`."""
    text = _read(path)
    count = len(entries_in(_load(text, path), node))
    place = _checked(index, count, path)

    def edit(document: Any) -> None:
        del _list(document, node)[place]

    _rewrite(path, text, edit, node, place, count, removed=True)


def entries_in(document: Any, node: str = "") -> list[Any]:
    """The entries under exactly this key, as written; a new list where there are none. Raises ``JobError``."""
    if document is None:
        return []
    if not isinstance(document, dict):
        raise JobError("The overrides are not a map of keys.", hint="docs/overrides.md shows one.")
    section = document.get(node or _KEY)
    if isinstance(section, dict):
        section = section.get(_KEY)
    if section is None:
        return []
    if not isinstance(section, list):
        raise JobError(f"{node or _KEY} is not a list of entries.", hint="Mend the file first.")
    return section


# --- the two ways of writing


def _rewrite(path: Path, text: str, edit: Edit, node: str, place: int, count: int, *, removed: bool = False) -> None:
    wanted = _plain(_load(text, path)) or {}
    edit(wanted)
    for candidate in _candidates(path, text, edit, node, place, count, removed):
        try:
            same = _meaning(_plain(_load(candidate, path))) == _meaning(wanted)
        except JobError:
            same = False
        if same:
            target = path.resolve()  # a link stays a link
            write_durably(target, candidate.encode("utf-8"))
            return
    raise JobError(f"{path} is written in a way that cannot be edited without loss.", hint="Edit it by hand.")


def _candidates(path: Path, text: str, edit: Edit, node: str, place: int, count: int, removed: bool) -> Iterator[str]:
    """The file after the edit, the least changed first."""
    try:
        json.loads(text.lstrip(_BOM))
        is_json = True
    except ValueError:
        is_json = not text.strip() and path.suffix == ".json"
    if is_json:
        wanted = _plain(_load(text, path)) or {}
        edit(wanted)
        indent = re.search(r"\n([ \t]+)", text)
        layout: Any = indent.group(1) if indent else 2
        yield json.dumps(wanted, indent=layout, ensure_ascii=False) + "\n"
        return
    spliced = _spliced(path, text, edit, node, place, count, removed)
    if spliced is not None:
        yield spliced
    yield _anew(path, text, edit)


def _spliced(path: Path, text: str, edit: Edit, node: str, place: int, count: int, removed: bool) -> Optional[str]:
    """Only the entry's own lines exchanged; None where the entries are not lines of their own."""
    document = _load(text, path)
    lines = text.splitlines(keepends=True)
    end = "\r\n" if "\r\n" in text else "\n"
    if not count:
        section = document.get(node or _KEY) if isinstance(document, dict) else None
        if removed or (isinstance(document, dict) and (node or _KEY) in document) or section is not None:
            return None
        made = CommentedMap()
        edit(made)
        break_ = end if text and not text.endswith("\n") else ""
        return text + break_ + _dumped(made, 0, end)
    entries = entries_in(document, node)
    if not isinstance(entries, CommentedSeq) or entries.fa.flow_style():
        return None
    column = entries.lc.col
    starts = [_dash_line(lines, entries.lc.item(i)[0], column) for i in range(count)]
    if None in starts:
        return None
    if place == count:
        first = last = _content_end(lines, starts[-1] or 0, len(lines), column)
    else:
        first = starts[place] or 0
        stop = starts[place + 1] if place + 1 < count else len(lines)
        last = _content_end(lines, first, stop or 0, column)
    fresh = ""
    if not removed:
        edit(document)
        entry = entries_in(document, node)[place]
        _move_comments(entry, -column)
        fresh = _dumped([entry], column, end)
    if first and not lines[first - 1].endswith("\n"):
        lines[first - 1] += end
    return "".join(lines[:first]) + fresh + "".join(lines[last:])


def _dash_line(lines: list[str], line: int, column: int) -> Optional[int]:
    """The line of the dash whose item begins at ``line`` or further below."""
    for at in range(min(line, len(lines) - 1), -1, -1):
        if lines[at].startswith(" " * column + "-"):
            return at
        if at < line and lines[at].strip() and not lines[at].lstrip().startswith("#"):
            return None
    return None


def _content_end(lines: list[str], start: int, stop: int, column: int) -> int:
    """The line after the item's last; blank lines and comments after it belong to nobody."""
    last = start
    for at in range(start + 1, stop):
        bare = lines[at].strip()
        if not bare or bare.startswith("#"):
            continue
        if len(lines[at]) - len(lines[at].lstrip(" ")) <= column:
            break
        last = at
    return last + 1


def _dumped(value: Any, column: int, end: str) -> str:
    """YAML lines, moved to ``column``; comments and blank lines at their end are the file's, and stay there."""
    stream = io.StringIO()
    _yaml().dump(value, stream)
    lines = stream.getvalue().splitlines()
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return "".join(f"{' ' * column if line else ''}{line}{end}" for line in lines)


def _move_comments(value: Any, by: int) -> None:
    """Comments keep their own columns when a value is dumped elsewhere."""
    notes = getattr(value, "ca", None)
    tokens = list(notes.items.values()) if notes is not None else []
    while tokens:
        token = tokens.pop()
        if isinstance(token, list):
            tokens += token
        elif token is not None:
            token.column = max(0, token.column + by)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _move_comments(item, by)


def _anew(path: Path, text: str, edit: Edit) -> str:
    """The whole file through ruamel.yaml: comments and keys survive, spacing may not."""
    document = _load(text, path)
    yaml = _yaml()
    if document is None:
        document = CommentedMap()
    else:
        dash = re.search(r"^( *)\S[^\n]*:[ \t]*(?:#[^\n]*)?\r?\n( *)-[ \n]", text, re.MULTILINE)
        offset = max(0, len(dash.group(2)) - len(dash.group(1))) if dash else 0
        yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    edit(document)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


# --- parts


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as problem:
        raise JobError(f"The overrides {path} cannot be read: {problem}.", details={"file": str(path)}) from problem


def _load(text: str, path: Path) -> Any:
    return load_text(text.lstrip(_BOM), path)


def _yaml() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 1 << 16  # long lines stay as they are
    return yaml


def _list(document: Any, node: str) -> Any:
    """The list of entries inside ``document``, made where there is none."""
    key = node or _KEY
    holder = document
    if node and isinstance(document.get(node), dict):
        holder, key = document[node], _KEY
    elif not node and isinstance(document.get(_KEY), dict):
        holder = document[_KEY]
    if holder.get(key) is None:
        holder[key] = []
    return holder[key]


def _checked(index: int, count: int, path: Path) -> int:
    if not 0 <= index < count:
        raise JobError(f"{path} has no entry {index}: there are {count}.", details={"file": str(path)})
    return index


def _plain(value: Any) -> Any:
    """Without comments and quotes: dicts, lists and scalars."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _meaning(value: Any) -> Any:
    """An empty list of entries and none at all are the same."""
    if isinstance(value, dict):
        return {key: _meaning(item) for key, item in value.items() if item not in (None, [])}
    if isinstance(value, list):
        return [_meaning(item) for item in value]
    return value
