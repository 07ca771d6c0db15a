"""How Storyteller's stories are drawn: as text, its words coloured by what they stand for."""

import numpy as np

from .batch import Array
from .painting import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, STONE, VERMILLION, Canvas, blend, font
from .story_grammar import ANIMAL, EXCITING, FITS, PERSON, STOP, THING, WHAT, WORDS, Reading

SIZE, LINE, SPACE = 1.0, 1.6, 0.3  # of letters, between lines and between words, in units of the picture
LEFT, RIGHT, TOP = 0.7, 15.4, 9.0  # edges of the text, and the middle of its first line
COLOURS = [
    VERMILLION if exciting else {PERSON: BLUE, ANIMAL: GREEN, THING: ORANGE}.get(what, PURPLE if word == "not" else INK)
    for word, what, exciting in zip(WORDS, WHAT.tolist(), EXCITING, strict=True)
]


def draw_story(canvas: Canvas, words: Array, given: int) -> None:
    """The words [N] of a story, the first `given` of them pale, with a mark where the next one goes.

    People are blue, animals green, things orange, exciting words red, "not" is purple. Sentences that say that a person is hurt
    are underlined, words that do not fit are struck out.
    """
    x, y = LEFT, TOP
    for place, (word, fits, hurt) in enumerate(zip(words, *marked(words), strict=True)):
        wide = font(100).getlength(WORDS[word]) / 100 * SIZE
        if x + wide > RIGHT and word != STOP:
            x, y = LEFT, y - LINE
        x -= SPACE if word == STOP and x > LEFT else 0.0
        canvas.text(WORDS[word], (x, y), SIZE, blend(COLOURS[word], PAPER, 0.5 if place < given else 0.0), "left")
        if hurt:
            canvas.line([(x, y - 0.55 * SIZE), (x + wide, y - 0.55 * SIZE)], VERMILLION, 0.08)
        if not fits:
            canvas.line([(x, y), (x + wide, y)], STONE, 0.08)
        x += wide + SPACE
    canvas.line([(x, y - 0.45 * SIZE), (x, y + 0.45 * SIZE)], MUTED, 0.06)


def marked(words: Array) -> tuple[Array, Array]:
    """Which words [N] of a story fit, and which stand in a sentence that says so far that a person is hurt; [N] bool each."""
    reading, fits, begun = Reading.fresh(1), np.ones(len(words), bool), 0
    hurt = np.zeros(len(words), bool)
    for place, word in enumerate(words):
        fits[place] = FITS[reading.phase[0], word]
        then = reading.then(words[place : place + 1])
        hurt[begun : place + 1] = (reading if word == STOP and fits[place] else then).injury[0] > 0
        reading, begun = then, place + 1 if word == STOP else begun
    return fits, hurt
