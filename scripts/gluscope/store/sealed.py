"""JSON files with a checksum of what they say: the records that results rest on.

The checksum is over the content and over what kind of file it is, which the file says too, so that one record in
another's place is noticed. The layout of the text does not count. Files of earlier versions have none and are read as
they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gluscope.core.errors import StoreError, WrongFile
from gluscope.store.damage import MISSING, Damaged, Misplaced, as_error, to_redo

KIND, CHECKSUM = "kind", "checksum"
_Record = TypeVar("_Record")


def seal(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """The content with its kind, such as "a plan of shards", and its checksum."""
    whole = {KIND: kind, **content}
    return {**whole, CHECKSUM: _checksum(json.loads(json.dumps(whole)))}


def sealed(kind: str, content: dict[str, Any]) -> str:
    """The text of a file."""
    return json.dumps(seal(kind, content), indent=1) + "\n"


def unseal(text: bytes, kind: str | None = None) -> dict[str, Any]:
    """The content of a file. kind: what it must be. Raises Damaged where it is not as it was written."""
    what = kind or "a record"
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{what}, found no JSON ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise Damaged(f"{what}, found JSON that is a {type(content).__name__}")
    stored = content.pop(CHECKSUM, None)
    if stored is None:
        return content
    if stored != _checksum(content):
        raise Damaged(f"{what} as it was written, found other text (checksum)")
    found = content.pop(KIND)
    if kind not in (None, found):
        raise Misplaced(f"{what}, found {found}")
    return content


def read_sealed(
    path: str | Path, kind: str, parse: Callable[[dict[str, Any]], _Record], store: str | Path | None = None
) -> _Record:
    """What `parse` makes of the file's content; it must refuse keys that it does not know.

    store: the folder that is to be made anew with the file, where that is not the file alone. Raises StoreError for a
    file that is missing, damaged or something else.
    """
    path = Path(path)
    try:
        return parse(unseal(path.read_bytes(), kind))
    except FileNotFoundError:
        raise StoreError(str(path), kind, "no such file", MISSING) from None
    except Damaged as error:
        raise as_error(error, Path(store or path), str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"other content ({type(error).__name__})"
        raise to_redo(WrongFile, Path(store or path), str(path), kind, found) from error


def _checksum(content: Any) -> str:
    """Half of the digits of a sha256. content: as JSON gives it back."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
