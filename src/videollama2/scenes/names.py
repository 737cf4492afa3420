"""What the made world is called: its things, the sounds they make, its colours and places."""

from __future__ import annotations

from dataclasses import dataclass

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 45, 45),
    "orange": (240, 135, 30),
    "yellow": (240, 215, 60),
    "green": (60, 160, 70),
    "blue": (50, 95, 205),
    "purple": (135, 65, 175),
    "white": (238, 238, 238),
    "black": (28, 28, 32),
}
QUARTERS: tuple[str, ...] = ("top left", "top right", "bottom left", "bottom right")
MOVEMENTS: tuple[str, ...] = ("still", "left", "right", "up", "down")
# Things that are many or much: no article before them.
UNCOUNTED: tuple[str, ...] = (
    *("bacon", "beans", "blueberries", "bread", "broccoli", "butter", "candy", "cheese"),
    *("cherries", "chocolate", "fire", "fries", "garlic", "glasses", "gloves", "grapes", "honey"),
    *("jeans", "luggage", "pancakes", "peanuts", "popcorn", "scissors", "socks", "sushi"),
)
NUMBERS: tuple[str, ...] = ("zero", "one", "two", "three", "four")

THINGS: dict[str, str] = {
    "accordion": "1fa97",
    "banjo": "1fa95",
    "bell": "1f514",
    "bird": "1f426",
    "clock": "23f0",
    "drum": "1f941",
    "flute": "1fa88",
    "guitar": "1f3b8",
    "helicopter": "1f681",
    "piano": "1f3b9",
    "saxophone": "1f3b7",
    "telephone": "260e",
    "trumpet": "1f3ba",
    "violin": "1f3bb",
    "apple": "1f34e",
    "ball": "26bd",
    "banana": "1f34c",
    "bicycle": "1f6b2",
    "book": "1f4d7",
    "burger": "1f354",
    "bus": "1f68c",
    "butterfly": "1f98b",
    "cactus": "1f335",
    "cake": "1f382",
    "candle": "1f56f",
    "car": "1f697",
    "carrot": "1f955",
    "cat": "1f431",
    "corn": "1f33d",
    "cow": "1f404",
    "crab": "1f980",
    "crown": "1f451",
    "dog": "1f415",
    "donut": "1f369",
    "elephant": "1f418",
    "fish": "1f420",
    "frog": "1f438",
    "horse": "1f40e",
    "house": "1f3e0",
    "key": "1f511",
    "lion": "1f981",
    "mushroom": "1f344",
    "octopus": "1f419",
    "penguin": "1f427",
    "pineapple": "1f34d",
    "pizza": "1f355",
    "rabbit": "1f407",
    "robot": "1f916",
    "rocket": "1f680",
    "ship": "1f6a2",
    "snail": "1f40c",
    "snowman": "26c4",
    "strawberry": "1f353",
    "sunflower": "1f33b",
    "tractor": "1f69c",
    "train": "1f682",
    "tree": "1f333",
    "turtle": "1f422",
    "umbrella": "2602",
    "watermelon": "1f349",
}
"""Name of each thing and the code points in the file name of its picture."""


@dataclass(frozen=True)
class Instrument:
    """How a thing's notes are played: General MIDI program (or the drum kit) and five keys.

    `strikes` is how often the key is struck within one note of 0.8 s; `skip_s` seconds are cut
    from the start of a note that comes up too slowly to be heard at once.
    """

    program: int
    keys: tuple[int, int, int, int, int]
    drum_kit: bool = False
    strikes: int = 1
    skip_s: float = 0.0


INSTRUMENTS: dict[str, Instrument] = {
    "accordion": Instrument(21, (60, 62, 64, 67, 69)),
    "banjo": Instrument(105, (55, 57, 60, 62, 65)),
    "bell": Instrument(14, (60, 62, 65, 67, 70)),
    "bird": Instrument(123, (60, 62, 64, 66, 68)),
    "clock": Instrument(115, (62, 64, 66, 68, 70), strikes=4),
    "drum": Instrument(0, (38, 40, 45, 47, 50), drum_kit=True, strikes=3),
    "flute": Instrument(73, (72, 74, 76, 79, 81)),
    "guitar": Instrument(29, (45, 48, 50, 52, 55)),
    "helicopter": Instrument(125, (55, 57, 60, 62, 64), skip_s=0.45),
    "piano": Instrument(0, (60, 62, 64, 67, 69)),
    "saxophone": Instrument(66, (55, 57, 60, 62, 64)),
    "telephone": Instrument(124, (60, 62, 64, 65, 67)),
    "trumpet": Instrument(56, (64, 67, 69, 71, 72)),
    "violin": Instrument(40, (67, 69, 71, 74, 76)),
}
"""The sounding things: a sound is called by the name of the thing that makes it."""
