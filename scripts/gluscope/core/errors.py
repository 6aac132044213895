"""Errors a user can act on: one line that says what was expected, what was found, and what to do next."""

from __future__ import annotations


class GluscopeError(Exception):
    """A fault with a remedy. `str()` is the one line a user sees.

    >>> str(GluscopeError("scan/0007.zarr.zip", "1000 rows", "998", "run the same command again to redo it"))
    'scan/0007.zarr.zip: expected 1000 rows, found 998. Next: run the same command again to redo it.'

    redo: files or folders that are damaged or of other settings, where a job makes them anew once they are gone.
    """

    redo: tuple[str, ...] = ()

    def __init__(self, where: str, expected: str, found: str, next_step: str) -> None:
        self.where, self.expected, self.found, self.next_step = where, expected, found, next_step
        super().__init__(f"{where}: expected {expected}, found {found}. Next: {next_step}.")


class ConfigError(GluscopeError):
    """The config, or a target, asks for something that cannot be."""


class ModelError(GluscopeError):
    """A model that cannot be used: not gated, unknown, incomplete, or with activations that are not finite."""


class DatasetError(GluscopeError):
    """Texts or tokens that cannot be used."""


class StoreError(GluscopeError):
    """A stored file is missing, cut short or altered."""


class WrongFile(StoreError):
    """A stored file that is whole, but not the one that belongs there: its checksums would not tell."""


class ShardMismatch(GluscopeError):
    """Shards that do not belong together: other settings, or a row that both hold."""


class OldVersion(GluscopeError):
    """A file that another version of a stage made."""


def one_line(error: BaseException) -> str:
    """Any exception as one line, whatever it contains."""
    text = " ".join(str(error).split()) or "no further details"
    return text if isinstance(error, GluscopeError) else f"{type(error).__name__}: {text}"
