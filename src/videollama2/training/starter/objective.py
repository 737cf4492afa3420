"""What the starter learns: words at its encoders' tokens, then answers."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.tensors import unflatten
from videollama2.scenes.names import COLOURS, MOVEMENTS
from videollama2.scenes.world import World
from videollama2.training.starter.data import IGNORED, Batch
from videollama2.training.starter.parts import USER

START_BIAS = -4.0  # most words are absent from most tokens


@dataclass(frozen=True)
class Streams:
    """The tokens of both streams at the language model's door: (B, tokens, D) each."""

    video: Tensor
    audio: Tensor


def pixels_of(frames: Tensor) -> Tensor:
    """(B, T, H, W, 3) uint8 -> (B, T, 3, H, W) in [-1, 1]."""
    return frames.permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0


def encode(model: VideoLlama2ForConditionalGeneration, batch: Batch) -> Streams:
    """Run both encoders on a batch."""
    return Streams(
        model.get_video_features(pixels_of(batch.frames)).pooler_output,
        model.get_audio_features(batch.features).pooler_output,
    )


class WordSpace(nn.Module):
    """Scores tokens against the language model's own word embeddings.

    Encoders taught this way speak the language model's words before it has learned to listen.
    The three scales and biases are all that it adds, and they are dropped after training.
    """

    def __init__(self, tokenizer: Any, world: World) -> None:
        super().__init__()
        self.words = {
            "things": _single_ids(tokenizer, world.names),
            "movements": _single_ids(tokenizer, MOVEMENTS),
            "colours": _single_ids(tokenizer, tuple(COLOURS)),
            "sounds": _single_ids(tokenizer, world.sounding),
        }
        self.scale = nn.ParameterDict({name: nn.Parameter(torch.ones(())) for name in self.words})
        self.bias = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(START_BIAS)) for name in self.words}
        )

    def scores(self, tokens: Tensor, embeddings: Tensor, group: str) -> Tensor:
        """(..., D) -> (..., words of the group)."""
        words = embeddings[torch.tensor(self.words[group], device=tokens.device)]
        return tokens @ words.T * self.scale[group] + self.bias[group]

    def loss(self, streams: Streams, embeddings: Tensor, batch: Batch) -> Tensor:
        """Binary cross-entropy of words at tokens, and the background's colour of the whole."""
        seen = self.seen_loss(streams.video, embeddings, batch)
        return seen + self.heard_loss(streams.audio, embeddings, batch.sounds)

    def seen_loss(self, video: Tensor, embeddings: Tensor, batch: Batch) -> Tensor:
        """Of the video's tokens (B, slots x cells x cells, D), laid out as the batch's labels."""
        video = unflatten(video, 1, tuple(batch.things.shape[1:4]))
        colours = self.scores(video, embeddings, "colours")
        asked = torch.ones_like(batch.plates)
        asked.scatter_(
            -1, batch.background[:, None, None, None, None].expand(*batch.plates.shape[:-1], 1), 0.0
        )
        background = colours.mean((1, 2, 3)) - self.bias["colours"]
        return (
            _bce(self.scores(video, embeddings, "things"), batch.things)
            + 0.5 * _bce(self.scores(video, embeddings, "movements"), batch.movements)
            + 0.5 * _bce(colours, batch.plates, asked)
            + 0.2 * F.cross_entropy(background, batch.background)
        )

    def heard_loss(self, audio: Tensor, embeddings: Tensor, sounds: Tensor) -> Tensor:
        """Of the sound's tokens (B, tokens, D); `sounds` (B, slots, words) are what is heard."""
        audio = unflatten(audio, 1, (sounds.shape[1], -1))
        return _bce(self.scores(audio, embeddings, "sounds").logsumexp(2), sounds)


def _bce(scores: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    """Summed over words, averaged over tokens, so that rare words weigh as common ones do."""
    loss = F.binary_cross_entropy_with_logits(scores, targets, weight, reduction="none")
    return loss.sum(-1).mean()


def _single_ids(tokenizer: Any, words: tuple[str, ...]) -> list[int]:
    encoded = tokenizer(list(words), add_special_tokens=False)["input_ids"]
    split = [word for word, ids in zip(words, encoded, strict=True) if len(ids) != 1]
    if split:
        raise ValueError(f"these words are not one token each: {', '.join(split)}")
    return [ids[0] for ids in encoded]


@dataclass(frozen=True)
class Read:
    """What the language model makes of rows.

    `logits` (N, vocabulary) and `targets` (N,) are those of all rows' answer positions; `media` is
    (B, video and audio tokens, D), half way up.
    """

    logits: Tensor
    targets: Tensor
    media: Tensor


def answer_logits(
    model: VideoLlama2ForConditionalGeneration, streams: Streams, batch: Batch, tokenizer: Any
) -> tuple[Tensor, Tensor]:
    """Logits (answer positions of all rows, vocabulary) and their targets: see `read_rows`."""
    read = read_rows(model, streams, batch, tokenizer)
    return read.logits, read.targets


def read_rows(
    model: VideoLlama2ForConditionalGeneration, streams: Streams, batch: Batch, tokenizer: Any
) -> Read:
    """Run the language model over whole rows.

    The row is [user][video][audio][question 0][question 1]...; a question sees the media and
    itself, and its positions go on from the media's end, so it is as if it stood alone. A hidden
    stream is masked, and positions close the gap that it would leave.
    """
    embed = model.get_input_embeddings()
    rows = batch.ids.shape[0]
    device = batch.ids.device
    user = torch.full((rows, 1), tokenizer.convert_tokens_to_ids(USER), device=device)
    inputs = torch.cat([embed(user), streams.video, streams.audio, embed(batch.ids)], dim=1)
    videos, audios = streams.video.shape[1], streams.audio.shape[1]
    shown = torch.cat(
        [
            torch.ones(rows, 1, dtype=torch.bool, device=device),
            (~batch.hide_video)[:, None].expand(-1, videos),
            (~batch.hide_audio)[:, None].expand(-1, audios),
        ],
        dim=1,
    )
    media_positions = (shown.long().cumsum(1) - 1).clamp(min=0)
    positions = torch.cat([media_positions, shown.sum(1)[:, None] + batch.offsets], dim=1)
    media = shown.shape[1]
    segments = torch.cat([torch.full_like(shown, -2, dtype=torch.long), batch.segments], dim=1)
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    same = segments[:, :, None] == segments[:, None, :]
    to_media = torch.zeros(rows, 1, length, dtype=torch.bool, device=device)
    to_media[:, 0, :media] = shown
    allowed = causal & (same | to_media)
    allowed[:, :, :media] &= to_media[:, :, :media]
    allowed |= torch.eye(length, dtype=torch.bool, device=device)
    layers = model.get_decoder()(
        inputs_embeds=inputs,
        attention_mask=allowed[:, None],
        position_ids=positions,
        use_cache=False,
        output_hidden_states=True,
    )
    hidden = layers.last_hidden_state[:, media:]
    wanted = batch.targets != IGNORED
    half_way = layers.hidden_states[len(layers.hidden_states) // 2]
    return Read(model.logits(hidden[wanted]), batch.targets[wanted], half_way[:, 1:media])
