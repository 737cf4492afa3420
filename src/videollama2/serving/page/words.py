"""What a person is told when something does not work: what happened, and what to do about it."""

from __future__ import annotations

from videollama2.serving.errors import ApiError

_PLAIN = {
    "media_corrupt": "This file is damaged, or is not a video, sound or picture. "
    "Try another copy of it.",
    "media_truncated": "This file is cut short. Copy or record it again.",
    "media_empty": "There is nothing in this file. Copy or record it again.",
    "media_without_pictures": "There are no pictures in this file.",
    "media_without_sound": "There is no sound in this file.",
    "media_unsupported": "This model cannot take in files of this kind.",
    "media_unreadable": "Reading this file takes too long, or it is built to do harm. Try another.",
    "media_range_empty": "Between “from” and “to” there is nothing of this clip. "
    "Change them in the settings.",
    "media_gone": "A file of this conversation is no longer here: files are kept for one hour. "
    "Start anew and add it again.",
    "too_many_media": "There are too many files in this conversation. Start a new one.",
    "too_many_frames": "These are too many frames per clip. Take fewer in the settings.",
    "body_too_large": "The files of this conversation are too large together. Start a new one.",
    "invalid_prompt": "This conversation has become too long for the model. Start a new one, "
    "or take fewer frames in the settings.",
    "context_length_exceeded": "There is no room left for an answer of this length. Allow a "
    "shorter one in the settings, or start a new conversation.",
    "queue_full": "Many people are asking at the moment. Try again in a few seconds.",
    "not_ready": "The model is still being loaded. Try again in a few seconds.",
    "shutting_down": "The server is about to stop. Try again in a minute.",
    "deadline_exceeded": "This took too long, so it was stopped. Try a shorter clip or answer.",
    "invalid_api_key": "Your key is no longer accepted. Reload the page and give it again.",
}


def plain(error: ApiError) -> str:
    """A refusal in plain words."""
    if error.code == "media_too_large":
        _, _, reason = error.message.rpartition(": ")
        numbers = f" ({reason})" if any(letter.isdigit() for letter in reason) else ""
        return f"This file is larger or longer than this server reads{numbers}. Shorten it."
    if error.status >= 500 and error.code not in _PLAIN:
        return "Something went wrong on the server. Try again."
    return _PLAIN.get(error.code, error.message)
