"""What a run takes before it is there: bytes, files, hours of a GPU; arithmetic on sizes, told in docs/cluster.md."""

from __future__ import annotations

from dataclasses import dataclass, field

from gluscope.core.size import Size

BATCH_TOKENS = 16384  # most tokens of a forward pass, where nobody says otherwise
# Operations a second of a card's data sheet, dense, by what a forward pass computes in.
PEAKS = {
    "H100": {"bfloat16": 989e12, "float16": 989e12, "tf32": 495e12, "float32": 67e12},
    "A100": {"bfloat16": 312e12, "float16": 312e12, "tf32": 156e12, "float32": 19.5e12},
}
# The share of it that a scan reaches. Measured with OLMo-7B in bfloat16 on an H100 80GB HBM3: 28,000 tokens a second of
# mixed texts are 0.37 of the peak, 32,000 in full batches 0.43. Other formats and cards were not measured.
SHARE = 0.37
_OWN = 16_384  # neurons of which a file of the finder has the lists' tokens
_LISTS, _SLOTS = 14, 16  # of extremes: that are filled, and that a summary has room for
# Of a listed neuron for each token of its texts: recomputed values (two float32) and its page (as measured).
_PAGE_BYTES, _REPLAY_BYTES = 8 + 11, 4


@dataclass(frozen=True)
class ModelSize:
    """n_layers, d_model, d_mlp: the model's. attention: numbers of a layer's attention weights. dtype: of the stored
    weights, empty where nobody said. Of a model with experts: neurons, all there are; active, those that a token goes
    through, in all layers; chosen, experts that a token is sent to; expert, neurons of the largest expert."""

    n_layers: int
    d_model: int
    d_mlp: int
    attention: int
    dtype: str = ""
    neurons: int = 0
    active: int = 0
    chosen: int = 0
    expert: int = 0

    @classmethod
    def of(cls, size: Size, d_model: int, attention: int, dtype: str = "", chosen: int = 0) -> ModelSize:
        """chosen: experts that a token is sent to, in a model with experts."""
        if not size.has_experts:
            return cls(size.n_layers, d_model, size.widest, attention, dtype)
        active = sum(layer.dense + sum(layer.shared) + min(chosen, layer.experts) * layer.each for layer in size.layers)
        expert = max(max((layer.each, *layer.shared)) for layer in size.layers)
        return cls(size.n_layers, d_model, size.widest, attention, dtype, size.neurons, active, chosen, expert)

    @property
    def all_neurons(self) -> int:
        """Of the model."""
        return self.neurons or self.n_layers * self.d_mlp

    @property
    def operations(self) -> int:
        """Of a forward pass, for each token: twice the weights outside embedding and unembedding."""
        active = self.active or self.n_layers * self.d_mlp
        return 2 * (3 * self.d_model * active + self.n_layers * self.attention)


@dataclass(frozen=True)
class Work:
    """What a run is about to do. scan, replay: tokens of the shards to be scanned, and to be replayed; shards: of how
    many. text: tokens of a text, on average. listed: neurons under `neurons:`. cache: whether there will be one."""

    scan: int
    shards: int
    replay: int
    replay_shards: int
    text: int
    listed: int
    k: int
    samples: int
    cache: bool
    format: str


@dataclass(frozen=True)
class Cost:
    """bytes: by what they are of, before compression. files: of them. operations: of scan and replay. format: of the
    forward pass, a dtype or "tf32"."""

    bytes: dict[str, int] = field(default_factory=dict)
    files: int = 0
    scan: float = 0.0
    replay: float = 0.0
    format: str = "float32"

    @property
    def total(self) -> int:
        return sum(self.bytes.values())

    def hours(self, card: str) -> tuple[float, float]:
        """Of scan and replay on one card of this kind; a replay is at most that."""
        rate = SHARE * PEAKS[card][self.format] * 3600
        return self.scan / rate, self.replay / rate


def _index_files(entries: int) -> int:
    """Files of the finder's way from tokens to lists, at most: more while one would have over 200,000 entries."""
    files = 1
    while files < 256 and entries > 200_000 * files:
        files *= 2
    return files


def cost(size: ModelSize, work: Work) -> Cost:
    """What `work` takes with a model of this size."""
    neurons = size.all_neurons
    lists = 16 * _SLOTS * work.k + 160  # 14 of 16 lists: value, row, position; counts and sums of the four cases
    samples = 4 * work.samples * (size.active / neurons if size.active else 1)  # NaN elsewhere, which zstd packs
    texts = work.listed * _LISTS * work.k * work.text
    found = {
        "the cache": work.scan * size.n_layers * (size.d_model * 2 + size.chosen * 6) if work.cache else 0,
        "statistics": int(neurons * ((work.shards + 1) * lists + 2 * samples)) if work.shards else 0,
        "the replay": texts * (_REPLAY_BYTES + 4 * bool(size.chosen)) if work.replay else 0,
        "pages": texts * _PAGE_BYTES,
    }
    files = work.shards * (1 + (size.n_layers + 6 if work.cache else 0)) + 15 * work.replay_shards + 2 * work.listed
    if size.chosen:  # the router's choice and weights; tokens routed, cosines with the router
        own = 2 * (size.n_layers + 1) if work.cache else 0
        files += work.shards * own + 2 * work.replay_shards + size.n_layers + 3
    files += 19 * size.n_layers + 45 + 6  # summary and weights; model, plan, versions, start page
    parts = neurons // _OWN if neurons > _OWN * size.n_layers else 0
    files += 2 * size.n_layers + parts + 1 + 2 * _index_files(neurons * _LISTS * work.k)  # the finder
    return Cost(
        {what: count for what, count in found.items() if count},
        files,
        float(work.scan * size.operations),
        float(work.replay * size.operations),
        work.format,
    )
