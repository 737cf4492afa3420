"""What a training run is made of: typed, checked, the same words as in the YAML files."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from videollama2.training.errors import TrainingError
from videollama2.training.labels import LabelForm

Values = Literal["paper", "released"]
Part = Literal["vision", "connector", "audio", "audio_projector", "language_model"]
PARTS: tuple[Part, ...] = ("vision", "connector", "audio", "audio_projector", "language_model")

Tracker = Literal["tensorboard", "trackio", "wandb"]

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a recipe: nothing unknown, nothing changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelSection(Section):
    """The model that training starts from.

    `start` is a checkpoint, ours or released, by folder or hub id. The parts are what it is made
    of: a dry run needs no more. `media_mode` and `geometry` None leave the checkpoint's own.
    """

    start: str | None = None
    language_model: str = "Qwen/Qwen2-7B-Instruct"
    vision: str = "google/siglip-so400m-patch14-384"
    connector: str = "stc_connector_v35"
    audio: str | None = None
    num_frames: Positive = 16
    media_mode: Literal["released", "native"] | None = None
    geometry: Literal["square", "pad"] | None = None


class DataFile(Section):
    """One list of records: relative media paths begin at `folder`; `sound` as `ReadOptions`.

    `path` is a JSON list, JSON Lines, or shards: a `shards.json` or `part-{000..099}.tar`, here or
    at an address.
    """

    path: str
    folder: str = "."
    sound: bool | None = None
    labels: LabelForm | None = None


def _as_file(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


def _as_files(value: Any) -> Any:
    if isinstance(value, (str, dict)):
        return (cast("Any", value),)
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


class DataSection(Section):
    """What is learned from.

    `ratio` mixes the lists (None: all as one). `max_text_tokens` counts a medium as one token, as
    released; `max_tokens` counts all of them. `packing` lays a device's records end to end in rows
    of at most `pack_tokens` tokens (None: in one) instead of padding each; a record that is longer
    has a row of its own. `expected_records` is for dry runs without data.
    `features` is a folder of `videollama2 data cache`, used instead of running frozen encoders.
    `shard_cache` is where shards from elsewhere are kept (None: the user's cache folder);
    `allow_private_hosts` lets media and shards come from hosts of a local network.
    """

    files: Annotated[
        tuple[Annotated[DataFile, BeforeValidator(_as_file)], ...], BeforeValidator(_as_files)
    ] = ()
    ratio: tuple[Positive, ...] | None = None
    labels: LabelForm = "answers"
    system_text: bool = False
    max_text_tokens: Positive = 2048
    max_tokens: Positive | None = None
    packing: bool = False
    pack_tokens: Positive | None = None
    max_skipped: Fraction = 0.01
    workers: Annotated[int, Field(ge=0)] = 4
    expected_records: Positive | None = None
    shard_cache: str | None = None
    features: str | None = None
    allow_private_hosts: bool = False


class TrainSection(Section):
    """The learning rate of each part that trains; the others are frozen."""

    vision: Rate | None = None
    connector: Rate | None = None
    audio: Rate | None = None
    audio_projector: Rate | None = None
    language_model: Rate | None = None

    def rates(self) -> dict[Part, float]:
        """The parts that train, in the order in which data flows through them."""
        return {part: rate for part in PARTS if (rate := getattr(self, part)) is not None}


class AdapterSection(Section):
    """Low-rank adapters on every linear layer of `parts`, whose own weights stay as they are."""

    kind: Literal["lora", "dora"] = "lora"
    parts: Annotated[tuple[Part, ...], Field(min_length=1)] = ("language_model",)
    rank: Positive = 128
    alpha: Positive = 256
    dropout: Fraction = 0.05
    learning_rate: Rate = 2e-5


class QuantizationSection(Section):
    """The language model's linear layers frozen in 4 bits (`checkpoints.four_bit`)."""

    kind: Literal["nf4", "fp4"] = "nf4"
    double: bool = True


class BatchSection(Section):
    """`total` records to one step, kept on any number of devices by accumulation."""

    total: Positive
    per_device: Positive = 4

    def accumulation(self, devices: int) -> int:
        """Batches that each device gathers gradients of before a step.

        Raises:
            TrainingError: the total cannot be kept.
        """
        steps, rest = divmod(self.total, self.per_device * devices)
        if rest or not steps:
            fits = [n for n in range(1, self.total + 1) if self.total % (n * devices) == 0]
            near = min(fits, key=lambda n: abs(n - self.per_device), default=None)
            remedy = (
                f"{devices} devices cannot share {self.total} evenly: set batch.total to a multiple"
                if near is None
                else f"try batch.per_device={near}"
            )
            raise TrainingError(
                f"batch.total {self.total} is no multiple of {devices} devices x "
                f"batch.per_device {self.per_device}; {remedy}"
            )
        return steps


class OptimizerSection(Section):
    """AdamW and its schedule (released training scripts)."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup_ratio: Fraction = 0.03
    weight_decay: Fraction = 0.0
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    gradient_checkpointing: bool = True
    precision: Literal["auto", "bfloat16", "float32"] = "auto"


class ParallelSection(Section):
    """How several processes share one model; see `parallel.py`.

    `reshard_after_forward`: a layer's parameters are let go between the ways forward and back.
    `cpu_offload`: parameters and the optimizer stay in main memory. A process that hears nothing
    of another for `timeout_minutes` ends.
    """

    kind: Literal["ddp", "fsdp2", "deepspeed_zero2", "deepspeed_zero3"] = "ddp"
    reshard_after_forward: bool = True
    cpu_offload: bool = False
    timeout_minutes: Positive = 30


class RunSection(Section):
    """Where the run's files go, and how often: steps between checkpoints, checkpoints kept.

    `speak_every` is in seconds, where there is no terminal to show a bar on. `peak_flops` is what
    a device does at most in a second, for the MFU of one that is not known here.
    """

    folder: str
    save_every: Positive = 500
    keep: Positive = 3
    log_every: Positive = 1
    speak_every: Annotated[float, Field(ge=0)] = 30.0
    report_to: Annotated[tuple[Tracker, ...], BeforeValidator(_as_list)] = ()
    peak_flops: Annotated[float, Field(gt=0)] | None = None


class Recipe(Section):
    """One training stage.

    `values` "paper" takes the paper's sizes, "released" those of the released scripts.
    """

    stage: str
    values: Values = "paper"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    model: ModelSection
    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    adapter: AdapterSection | None = None
    quantization: QuantizationSection | None = None
    batch: BatchSection
    optimizer: OptimizerSection = OptimizerSection()
    parallel: ParallelSection = ParallelSection()
    run: RunSection

    def check(self) -> None:
        """What no single setting can say.

        Raises:
            TrainingError: the settings do not fit together.
        """
        rates = self.train.rates()
        if not rates and self.adapter is None:
            raise TrainingError(
                f"nothing trains: give a part of {', '.join(PARTS)} a learning rate, "
                "for example train.connector=1e-3"
            )
        both = sorted(set(rates) & set(self.adapter.parts if self.adapter else ()))
        if both:
            raise TrainingError(
                f"{', '.join(both)} would train with adapters and without: "
                f"say train.{both[0]}=null or take it out of adapter.parts"
            )
        self._check_quantization()
        if self.data.pack_tokens is not None and not self.data.packing:
            raise TrainingError(
                f"data.pack_tokens is {self.data.pack_tokens} and nothing is packed: "
                "say data.packing=true"
            )
        ratio, lists = self.data.ratio, len(self.data.files)
        if ratio is not None and lists and len(ratio) != lists:
            raise TrainingError(
                f"data.ratio has {len(ratio)} numbers for {lists} data.files: one for each"
            )

    def _check_quantization(self) -> None:
        if self.quantization is None:
            return
        if self.train.language_model is not None:
            raise TrainingError(
                "weights in 4 bits cannot train: say train.language_model=null or quantization=null"
            )
        if self.parallel.kind in ("fsdp2", "deepspeed_zero3"):
            raise TrainingError(
                "weights in 4 bits cannot be shared out: say parallel.kind=ddp or quantization=null"
            )
        if self.adapter is None:
            raise TrainingError(
                "quantization is for training with adapters and there are none: "
                "say adapter.rank=128 or quantization=null"
            )
