"""A token data set read row by row, and by the datasets library."""

from __future__ import annotations

import datasets
from gluscope.dataset.reader import TokenDataset


def all_ids(data: TokenDataset) -> list[list[int]]:
    return [data.input_ids(row).tolist() for row in range(len(data))]


def all_texts(data: TokenDataset) -> list[str]:
    """The column of texts, as `load_from_disk` gives it."""
    assert data.record.text_column is not None
    return list(datasets.load_from_disk(str(data.folder))[data.record.text_column])
