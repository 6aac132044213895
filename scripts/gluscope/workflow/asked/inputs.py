"""Files that come from outside: models, texts, tokenizers, published activations."""

from __future__ import annotations

import os
from pathlib import Path

from gluscope.config import places
from gluscope.core.errors import ConfigError
from gluscope.core.paths import RunPaths
from gluscope.dataset.files import has_template, inputs, inside, no_template, no_tokenizer
from gluscope.descriptions.read import dated
from gluscope.workflow.asked.runs import Runs


class Inputs(Runs):
    """Where what a run is made from lies: here, or on a hub."""

    def model(self, run: str) -> str:
        """The folder of a run's model, or its hub id. Raises ConfigError for a file."""
        model, where = self.run(run).model, f"config: runs: {run}: model"
        place = places.locate(model, where, self.folder)
        if place and os.path.isfile(place):
            step = "name the folder that it lies in; for a GGUF file, the model that it was made from"
            raise ConfigError(where, "a model's folder (config.json and safetensors files)", f"the file {place}", step)
        return place or model

    def model_files(self, run: str) -> list[str]:
        """Files of a local model; none for a hub id."""
        place = places.locate(self.run(run).model, f"config: runs: {run}: model", self.folder)
        return places.model_files(place) if place else []

    def stamp_of_model(self, run: str) -> str:
        return places.stamp(self.model_files(run))

    def stamp_of_source(self, dataset: str) -> str:
        return places.stamp(self.source_files(dataset))

    def stamp_of_texts(self, dataset: str) -> str:
        """The same of source and tokenizer."""
        return places.stamp(self.source_files(dataset) + self.tokenizer_files(dataset))

    def source(self, dataset: str) -> str:
        """The file or folder of a data set's texts, or its hub id."""
        return self._place(dataset, "source") or self.dataset(dataset).source

    def tokenizer(self, dataset: str) -> str | None:
        """The folder of a data set's tokenizer, or its hub id, or None."""
        return self._place(dataset, "tokenizer") or self.dataset(dataset).tokenizer

    def source_files(self, dataset: str) -> list[str]:
        """Files of a local source; none for a hub id. Raises DatasetError for what cannot be read."""
        place = self._place(dataset, "source")
        return inputs(place) if place else []

    def tokenizer_files(self, dataset: str) -> list[str]:
        """Files of a local tokenizer. Raises DatasetError for one that has no template for chats."""
        place, chat = self._place(dataset, "tokenizer"), self.dataset(dataset).messages_column is not None
        if place and chat and not has_template(place):
            raise no_template(place)
        return places.tokenizer_files(place, chat) if place else []

    def tokenizer_of_pages(self, run: str) -> list[str]:
        """The model's own tokenizer, where a run's texts came as tokens; none if the data set has one.

        Raises DatasetError for a local model without: pages could not show their texts. (A hub model is looked at when
        it is fetched.)
        """
        if self.dataset_of(run).tokenizer is not None:
            return []
        place = places.locate(self.run(run).model, f"config: runs: {run}: model", self.folder)
        if place is None or (file := Path(place) / "tokenizer.json").is_file():
            return [] if place is None else [str(file)]
        raise no_tokenizer(self.dataset_of(run).name, place)

    def fetched(self, dataset: str) -> list[str]:
        """The file that says what was fetched for a data set; none if nothing has to be."""
        keys = self.dataset(dataset)
        remote = [key for key in ("source", "tokenizer") if getattr(keys, key) and not self._place(dataset, key)]
        return [keys.paths.source] if remote else []

    def activations(self, run: str) -> str | None:
        """The file or folder of a run's published activations, or their hub id; None for a run that scans."""
        return self._published(run, "activations")[0]

    def sampled_activations(self, run: str) -> str | None:
        """The same of its published sampled activations; None for a run without."""
        return self._published(run, "sampled_activations")[0]

    def activation_files(self, run: str) -> list[str]:
        """Files that stand for a run's published activations: themselves, or what says where they were fetched to."""
        return self._published_files(run, "activations", RunPaths(run).activations)

    def sampled_files(self, run: str) -> list[str]:
        """The same of its published sampled activations; none for a run without."""
        return self._published_files(run, "sampled_activations", RunPaths(run).sampled_activations)

    def descriptions(self, run: str) -> str | None:
        """The file or folder of what others say of a run's neurons. Raises ConfigError for what is not there."""
        named, where = self.run(run).descriptions, f"config: runs: {run}: descriptions"
        place = named and places.locate(named, where, self.folder)
        if named and not place:
            raise ConfigError(where, "a file or folder that exists", repr(named), f"look in {os.getcwd()}")
        return place

    def stamp_of_descriptions(self, run: str) -> str:
        """Of the file, or of the folders that the files, which may be half a million, lie in."""
        place = self.descriptions(run)
        return places.stamp(dated(Path(place))) if place else ""

    def description_files(self, run: str) -> list[str]:
        """The file, where it is one."""
        place = self.descriptions(run)
        return [place] if place and not os.path.isdir(place) else []

    def taken_descriptions(self, run: str) -> list[str]:
        """What the run keeps of them; none for a run without."""
        return [RunPaths(run).descriptions] if self.run(run).descriptions else []

    def _published(self, run: str, key: str) -> tuple[str | None, bool]:
        """What a run's key names, and whether it is of this machine."""
        named = getattr(self.run(run), key)
        place = named and places.locate(named, f"config: runs: {run}: {key}", self.folder)
        return place or named, place is not None

    def _published_files(self, run: str, key: str, fetched: str) -> list[str]:
        place, here = self._published(run, key)
        if place is None or not here:
            return [fetched] if place else []
        made_here = f"{place}/state.json" in (RunPaths(other).export_hf for other in self.config.runs)
        if made_here or not os.path.exists(place):  # that is yet to be made, or not there
            return [f"{place}/state.json"] if made_here else [place]
        return [str(file) for file in inside(Path(place))]

    def _place(self, dataset: str, key: str) -> str | None:
        value = getattr(self.dataset(dataset), key)
        return places.locate(value, f"config: datasets: {dataset}: {key}", self.folder) if value else None
