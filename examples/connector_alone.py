"""The connector and the audio encoder in somebody else's model.

`build_connector` and `Beats` are plain torch modules made from plain numbers: no config, no
processor, no language model of ours. Here they serve a made-up one, a small recurrent network that
looks through its own convolutional eye and does not know what a VideoLLaMA is.

    python examples/connector_alone.py
"""

import torch
from torch import Tensor, nn

from videollama2.model.beats import Beats
from videollama2.model.connector import build_connector

FRAMES, SIDE, WORDS = 8, 64, 100
VISION_WIDTH, AUDIO_WIDTH, WIDTH = 24, 48, 32


class OtherModel(nn.Module):
    """Reads a clip, then its sound, then words; predicts the next word after each.

    Shapes: B clips, T frames, N patches, F filter bank frames, M mel bins, L words, D width.
    """

    def __init__(self) -> None:
        super().__init__()
        self.eye = nn.Conv2d(3, VISION_WIDTH, kernel_size=8, stride=8)
        # Space and time together: 2 x 2 x 2 neighbours become one token (paper, section 2.2).
        self.connector = build_connector("stc_connector_v35", VISION_WIDTH, WIDTH, depth=2)
        self.ear = Beats(
            hidden_size=AUDIO_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            patch_embedding_size=32,
            conv_pos=16,
            conv_pos_groups=4,
            num_sound_classes=10,
        )
        self.ear_to_words = nn.Linear(AUDIO_WIDTH, WIDTH)
        self.words = nn.Embedding(WORDS, WIDTH)
        self.reader = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.writer = nn.Linear(WIDTH, WORDS)

    def see(self, frames: Tensor) -> Tensor:
        """(B, T, 3, H, W) -> (B, tokens, D)."""
        patches = self.eye(frames.flatten(0, 1)).flatten(2).transpose(1, 2)  # (B T, N, C)
        return self.connector(patches.unflatten(0, frames.shape[:2]))

    def hear(self, fbank: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, F, M), mask (B, F) true where there is sound -> (B, tokens, D)."""
        return self.ear_to_words(self.ear(fbank, mask))

    def forward(self, frames: Tensor, fbank: Tensor, words: Tensor) -> Tensor:
        """-> (B, L, words): scores of the next word."""
        media = torch.cat([self.see(frames), self.hear(fbank)], dim=1)
        read, _ = self.reader(torch.cat([media, self.words(words)], dim=1))
        return self.writer(read[:, media.shape[1] :])


def main() -> None:
    """Take one training step, and say what became what."""
    torch.manual_seed(0)
    model = OtherModel()
    frames = torch.randn(2, FRAMES, 3, SIDE, SIDE)
    fbank = 15 + 6 * torch.randn(2, 160, 128)
    words = torch.randint(WORDS, (2, 6))

    scores = model(frames, fbank, words)
    loss = nn.functional.cross_entropy(scores[:, :-1].flatten(0, 1), words[:, 1:].flatten())
    loss.backward()
    with torch.inference_mode():
        seen, heard, tags = model.see(frames), model.hear(fbank), model.ear.tag(fbank)

    print(f"{FRAMES} frames of {SIDE} x {SIDE}     -> {tuple(seen.shape)}")
    print(f"160 filter bank frames  -> {tuple(heard.shape)}")
    print(f"which of 10 sounds      -> {tuple(tags.shape)}")
    print(f"words after them        -> {tuple(scores.shape)}, loss {loss.item():.2f}")


if __name__ == "__main__":
    main()
