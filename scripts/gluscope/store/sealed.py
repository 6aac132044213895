"""JSON files with a checksum of what they say: the records that results rest on.

The checksum is over the content and over what kind of file it is, so that one record in another's place is noticed. The
layout of the text does not count. Files of earlier versions have none and are read as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gluscope.core.errors import StoreError
from gluscope.store.damage import MISSING, Damaged, to_redo

CHECKSUM = "checksum"
_Record = TypeVar("_Record")


def sealed(kind: str, content: dict[str, Any]) -> str:
    """The text of a file. kind: what it is, such as "a plan of shards"."""
    return json.dumps({**content, CHECKSUM: checksum(kind, content)}, indent=1) + "\n"


def checksum(kind: str, content: Any) -> str:
    """sha256 over a kind of file and its content (JSON), half of its digits."""
    plain = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return hashlib.sha256(f"{kind}\n{plain}".encode()).hexdigest()[:32]


def unseal(kind: str, text: bytes) -> dict[str, Any]:
    """The content of a file. Raises Damaged where it is not as it was written."""
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{kind}, found no JSON ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise Damaged(f"{kind}, found JSON that is a {type(content).__name__}")
    stored = content.pop(CHECKSUM, None)
    if stored is not None and stored != checksum(kind, content):
        raise Damaged(f"{kind} as it was written, found other text (checksum)")
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
        return parse(unseal(kind, path.read_bytes()))
    except FileNotFoundError:
        raise StoreError(str(path), kind, "no such file", MISSING) from None
    except Damaged as error:
        expected, _, found = str(error).partition(", found ")
        raise to_redo(StoreError, Path(store or path), str(path), expected, found) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"other content ({type(error).__name__})"
        raise to_redo(StoreError, Path(store or path), str(path), kind, found) from error
