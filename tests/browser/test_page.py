"""The page as people meet it, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest
from pages import HOSTILE, KEY, ROOT, WAITING, Served, Tab

from videollama2 import VideoLlama2

CLIP = ROOT / "examples" / "violin-and-drum.mp4"
OTHER = ROOT / "examples" / "saxophone-and-octopus.mp4"
PHONE = {"width": 390, "height": 844}

Open = Callable[..., Tab]
Keep = Callable[..., None]


def test_a_clip_is_asked_about(starter: Served, open_tab: Open, keep: Keep) -> None:
    """Upload, streamed answer, what was seen and heard, second question, history with media."""
    tab = open_tab(starter.address)
    keep(tab, "page-welcome")
    tab.page.evaluate(
        """() => { window.said = [];
        const note = () => { const found = document.querySelectorAll('#chat [data-testid=bot]');
          if (found.length) window.said.push(found[0].innerText.trim()); };
        new MutationObserver(note).observe(document.querySelector('#chat'),
          {subtree: true, childList: true, characterData: true}); }"""
    )
    answer = tab.ask("What do you see and hear?", CLIP)
    assert answer.endswith(" on a green background, and a violin is heard")
    assert sorted(re.findall("car|drum|violin", answer)) == ["car", "drum", "violin", "violin"]
    said = [one for one in tab.page.evaluate("() => window.said") if one not in ("", WAITING)]
    assert said[-1] == answer
    for before, after in pairwise(said):  # it only ever grows
        assert after.startswith(before)
    tab.wait("#looks figure")
    assert len(tab.page.query_selector_all("#looks figure img")) == 8
    assert tab.page.inner_text("#looks figcaption >> nth=0") == "0.2 s"
    assert "8 frames seen" in tab.page.inner_text("#looks header")
    assert "4.0 s heard" in tab.page.inner_text("#looks header")
    assert tab.page.query_selector("#looks .sound > img") is not None
    assert "no tag head" in tab.page.inner_text("#looks")
    keep(tab, "page-answer")
    chat = VideoLlama2.from_pretrained("starter").chat()  # turns know of each other, right or wrong
    assert chat.ask("What do you see and hear?", video=CLIP) == answer
    second = chat.ask("Which of the things makes the sound?")
    assert tab.ask("Which of the things makes the sound?") == second
    assert tab.ask("What is heard?", OTHER) != ""
    shown = tab.page.query_selector_all("#chat [data-testid=user] video")
    assert len(shown) == 2
    assert tab.answers()[:2] == [answer, second]
    assert len(tab.page.query_selector_all("#looks .look")) == 2
    tab.page.click("#anew")
    tab.wait("#chat .example")
    assert tab.page.query_selector("#looks figure") is None
    assert tab.errors == []
    assert {
        urlsplit(one).netloc for one in tab.requests if not one.startswith(("data:", "blob:"))
    } == {urlsplit(starter.address).netloc}


def test_an_example_is_one_click(starter: Served, open_tab: Open) -> None:
    tab = open_tab(starter.address)
    assert len(tab.page.query_selector_all("#chat .example")) == 3
    tab.page.click("#chat .example >> nth=0")
    assert tab.next_answer(0) == "violin"


def test_settings_change_the_answer(starter: Served, open_tab: Open, keep: Keep) -> None:
    tab = open_tab(starter.address)
    assert tab.ask("How many sounds are heard?", CLIP) == "one"
    tab = open_tab(starter.address)  # a conversation of its own, or that answer would be heard
    tab.page.click("#settings button")
    tab.page.uncheck("#sound input")
    keep(tab, "page-settings")
    assert tab.ask("How many sounds are heard?", CLIP) != "one"  # unheard, it is a guess
    tab.wait("#looks header:has-text('no sound heard')")
    tab.page.fill("#longest input[type=number]", "2")
    tab.page.keyboard.press("Tab")
    assert len(tab.ask("What do you see and hear?").split()) <= 2


def let_go(tab: Tab) -> None:
    """Every camera and microphone that the page had opened is off again."""
    tab.page.wait_for_function(
        "() => window.streams.length && window.streams.every("
        "one => one.getTracks().every(track => track.readyState === 'ended'))"
    )


def test_a_clip_is_recorded(starter: Served, open_tab: Open, keep: Keep) -> None:
    tab = open_tab(starter.address)
    tab.page.click("#record")
    tab.page.click("#camera button:has-text('Webcam')")
    tab.page.click("#camera [aria-label='start recording']")
    tab.played("#camera video", 3.0)
    tab.page.wait_for_function("() => window.recorded > 10_000")  # a busy machine is slow at it
    keep(tab, "page-camera")
    tab.page.click("#camera [aria-label='start recording']:has([title='stop recording'])")
    tab.wait("#box .thumbnail-item")
    tab.page.wait_for_function("() => !document.querySelector('#camera')?.offsetParent")
    let_go(tab)
    answer = tab.ask("What do you see and hear?")
    assert answer
    tab.wait("#looks .sound > img")
    assert len(tab.page.query_selector_all("#looks figure img")) == 8


def test_a_camera_is_shut_again(starter: Served, open_tab: Open) -> None:
    tab = open_tab(starter.address)
    tab.page.click("#record")
    tab.page.click("#camera button:has-text('Webcam')")
    tab.played("#camera video", 0.1)
    tab.page.click("#snap")  # one camera at a time
    tab.wait("#photo")
    tab.page.wait_for_selector("#camera", state="hidden")
    assert tab.page.inner_text("#record") == "Record a clip"
    tab.page.click("#snap:has-text('Close')")
    tab.page.wait_for_selector("#photo", state="hidden")
    let_go(tab)


def test_a_picture_is_taken(starter: Served, open_tab: Open) -> None:
    tab = open_tab(starter.address)
    tab.page.click("#snap")
    tab.page.click("#photo button:has-text('Webcam')")
    tab.played("#photo video", 0.1)
    tab.page.click("#photo [aria-label='capture photo']")
    tab.wait("#box .thumbnail-item img")
    let_go(tab)
    assert tab.ask("What is shown?")
    tab.wait("#looks .frames.one img")
    tab.wait("#chat [data-testid=user] img", state="attached")


def test_a_sound_is_recorded(starter: Served, open_tab: Open) -> None:
    tab = open_tab(starter.address)
    tab.page.click("[data-testid=microphone-button]")
    tab.page.click("#box .record-button")
    tab.wait("#box:has-text('0:02')")
    tab.page.click("#box .stop-button")
    tab.page.click("#box [aria-label='Attach audio']")
    tab.wait("#box .thumbnail-item")
    assert tab.ask("What is heard?")
    tab.wait("#looks .sound > img")
    tab.wait("#chat [data-testid=user] audio", state="attached")


def test_a_damaged_file_is_said_in_plain_words(
    starter: Served, open_tab: Open, keep: Keep, tmp_path: Path
) -> None:
    damaged = tmp_path / "holiday.mp4"
    damaged.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40)
    tab = open_tab(starter.address)
    answer = tab.refused("What is this?", damaged)
    assert answer.startswith("⚠ This file is damaged, or is not a video, sound or picture.")
    assert tab.page.input_value("#box textarea") == "What is this?"  # nothing is lost
    assert tab.page.inner_text("#chat [data-testid=user]") == "holiday.mp4\nWhat is this?"
    keep(tab, "page-error")
    tab.page.fill("#box textarea", "")
    assert tab.ask("Which of the things makes the sound?", CLIP) == "violin"


def test_names_and_words_are_no_markup(starter: Served, open_tab: Open, tmp_path: Path) -> None:
    """Advisories CVE-2024-47872 and its like: stored scripts by upload."""
    file = tmp_path / "<img src=x onerror=window.hurt=1>.mp4"
    file.write_bytes(CLIP.read_bytes())
    tab = open_tab(starter.address)
    words = f"**bold** [link](http://example.org) ![i](http://example.org/i.png) {HOSTILE}"
    tab.ask(words, file)
    tab.wait("#looks figure")
    assert tab.page.inner_text("#chat [data-testid=user] .message-content") == words
    assert "src=x onerror" in tab.page.inner_text("#looks header b")
    for place in ("#chat .message-content", "#looks header"):
        assert tab.page.query_selector(f"{place} :is(a, img, strong, script)") is None
    assert tab.page.evaluate("() => window.hurt") is None
    assert not [one for one in tab.requests if "example.org" in one]


def test_answers_stream_and_are_no_markup(
    starter: Served, open_tab: Open, markup_server: tuple[str, Event]
) -> None:
    address, go_on = markup_server
    tab = open_tab(address)
    tab.send("?")
    tab.wait("#chat [data-testid=bot]:has-text('# Title')")  # the rest has not been written yet
    assert tab.page.query_selector("[data-testid=submit-button]") is None
    go_on.set()
    answer = tab.next_answer(0)
    assert answer.endswith("<script>window.hurt=1</script>")
    assert "![i](http://example.org/i.png)" in answer
    assert (
        tab.page.query_selector("#chat [data-testid=bot] :is(a, img, strong, script, h1)") is None
    )
    assert tab.page.evaluate("() => window.hurt") is None
    assert not [one for one in tab.requests if "example.org" in one]
    assert tab.errors == []


def test_the_key_is_asked_for(tagging: Served, open_tab: Open, keep: Keep) -> None:
    tab = open_tab(tagging.address, ready="input[name=key]")
    tab.page.fill("input[name=key]", "sk-wrong")
    tab.page.click("button")
    assert tab.wait(".wrong").inner_text() == "This is not the key of this server."
    keep(tab, "page-key")
    enter(tab)
    assert not [one for one in tab.requests if KEY in one or "sk-wrong" in one]
    assert KEY not in tab.page.evaluate("() => document.cookie + JSON.stringify(localStorage)")


def enter(tab: Tab) -> None:
    tab.page.fill("input[name=key]", KEY)
    tab.page.click("button")
    tab.wait("#box textarea")


def test_tags_are_shown(tagging: Served, open_tab: Open, keep: Keep) -> None:
    tab = open_tab(tagging.address, ready="input[name=key]")
    enter(tab)
    tab.ask("What is heard?", CLIP)
    tab.wait("#looks .window li")
    tags = [one.inner_text() for one in tab.page.query_selector_all("#looks .window li span")]
    assert "Violin, fiddle" in tags
    assert HOSTILE in tags
    assert len(tab.page.query_selector_all("#looks .window li meter")) == len(tags) == 5
    assert tab.page.evaluate("() => window.hurt") is None
    keep(tab, "page-tags", "#looks")


def test_a_file_that_is_too_large(tagging: Served, open_tab: Open, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(CLIP.read_bytes() + bytes(2 * 1024**2))
    tab = open_tab(tagging.address, ready="input[name=key]")
    enter(tab)
    tab.page.set_input_files("#box input[type=file]", str(large))
    said = tab.wait(".toast-body, .toast-wrap").inner_text()
    assert "size" in said.lower()
    assert tab.page.query_selector("#box .thumbnail-item") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(starter: Served, open_tab: Open, keep: Keep, scheme: Any) -> None:
    tab = open_tab(
        starter.address, viewport=PHONE, is_mobile=True, has_touch=True, color_scheme=scheme
    )
    keep(tab, f"page-phone-{scheme}-welcome")
    fits(tab)
    tab.page.tap("#chat .example >> nth=1")
    tab.next_answer(0)
    tab.wait("#looks figure")
    fits(tab)
    keep(tab, f"page-phone-{scheme}")
    tab.page.tap("#settings button")
    fits(tab)


def fits(tab: Tab) -> None:
    """Nothing is wider than the screen, and the button that sends is on it."""
    assert tab.page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    wide = tab.page.evaluate(
        """width => [...document.querySelectorAll('#talk *, #seen *')].filter(
        one => one.offsetParent && one.getBoundingClientRect().right > width + 1
          && !one.closest('svg')).map(one => one.className)""",
        PHONE["width"],
    )
    assert wide == []
    tab.page.evaluate("() => window.scrollTo(0, 0)")
    box = tab.page.locator("[data-testid=submit-button]").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    assert box["y"] + box["height"] <= PHONE["height"]
