"""Which ids stand for media: the ones a tokenizer gives the three media tokens.

Read off the tokenizer's files, so that a config agrees with its processor before any tokenizer
is built. Without a tokenizer they are the three ids from the vocabulary's size on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from videollama2.checkpoints.towers import read_json

MEDIA_TOKENS = {
    "video_token_id": "<video>",
    "image_token_id": "<image>",
    "audio_token_id": "<audio>",
}


TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's files."""
    return any((folder / file).is_file() for file in TOKENIZER_FILES)


def media_token_ids(folder: Path | None, vocab_size: int) -> dict[str, int]:
    """`video_token_id`, `image_token_id`, `audio_token_id` for a checkpoint's folder."""
    vocabulary = _read_vocabulary(folder) if folder is not None else None
    following = vocab_size if vocabulary is None else len(vocabulary)
    ids: dict[str, int] = {}
    for field, token in MEDIA_TOKENS.items():
        if vocabulary is not None and token in vocabulary:
            ids[field] = vocabulary[token]
        else:
            ids[field] = following
            following += 1
    return ids


def _read_vocabulary(folder: Path) -> dict[str, int] | None:
    """token -> id of the tokenizer in a folder, added tokens among them; None without one."""
    readers: tuple[tuple[str, Callable[[Path], dict[str, int]]], ...] = (
        ("tokenizer.json", _from_fast),
        ("vocab.json", _from_vocabulary),
        ("tokenizer.model", _from_sentencepiece),
    )
    for file, read in readers:
        if (folder / file).is_file():
            return read(folder / file) | _added(folder)
    return None


def _from_fast(path: Path) -> dict[str, int]:
    content = read_json(path)
    vocabulary: Any = content.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, list):  # a unigram model lists (piece, score)
        pieces: list[Any] = vocabulary  # pyright: ignore[reportUnknownVariableType]  (JSON)
        vocabulary = {str(piece[0]): index for index, piece in enumerate(pieces)}
    ids: dict[str, int] = dict(vocabulary)  # pyright: ignore[reportUnknownArgumentType]  (JSON)
    return ids | {entry["content"]: entry["id"] for entry in content.get("added_tokens", [])}


def _from_vocabulary(path: Path) -> dict[str, int]:
    return dict(read_json(path))


def _from_sentencepiece(path: Path) -> dict[str, int]:
    from sentencepiece import (  # pyright: ignore[reportMissingTypeStubs]
        SentencePieceProcessor,
    )

    model: Any = SentencePieceProcessor(model_file=str(path))
    return {model.id_to_piece(index): index for index in range(model.get_piece_size())}


def _added(folder: Path) -> dict[str, int]:
    ids: dict[str, int] = {}
    if (folder / "tokenizer_config.json").is_file():
        decoder = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
        ids |= {entry["content"]: int(index) for index, entry in decoder.items()}
    if (folder / "added_tokens.json").is_file():
        ids |= read_json(folder / "added_tokens.json")
    return ids
