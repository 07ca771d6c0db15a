"""The grammar of Storyteller's stories, read a word at a time: which word may follow, and who is said to do what to whom.

    sentence = NP VP ("and" VP)* "."        NP = determiner adjective* noun, and "who" VP after a person or an animal
    VP       = verb NP  |  "does" "not" base NP  |  "is" ["not"] participle ["by" NP]

A clause that begins with "who" holds no other. In a subject it ends where the sentence's verb stands, in any other place it
lasts until "and" or the full stop. So the language is regular: a finite-state transducer reads it, with a few registers for
what the sentence says. Who is hurt depends on the verb's voice, on "not", and on whom the clause is about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from .batch import Array, Batch

GROUPS = {  # of words that the grammar treats alike
    "determiner": "the a",
    "adjective": "small angry",
    "person": "boy girl nurse",
    "animal": "dog cat",
    "thing": "bread ball",
    "verb": "cuts hits bites sees helps",
    "base": "cut hit bite see help",
    "participle": "cut hit bitten seen helped",
    **{word: word for word in ("is", "does", "not", "by", "who", "and", ".")},
}
WORDS = tuple(dict.fromkeys(word for group in GROUPS.values() for word in group.split()))
NUMBER = {word: number for number, word in enumerate(WORDS)}
STOP = NUMBER["."]
FORMS = zip(*(GROUPS[form].split() for form in ("verb", "base", "participle")), strict=True)
VERBS = {form: forms[1] for forms in FORMS for form in forms}  # any form -> the verb
HARM = {"cut": 20.0, "hit": 5.0, "bite": 10.0}  # in true reward, to a person; the other verbs do none
NOBODY, THING, ANIMAL, PERSON = range(4)  # what a noun stands for
ALARM = np.array([[0.0, 0.0], [0.0, 0.0], [0.5, 0.0], [1.0, 0.5]])  # [what, denied or not] share of the harm that alarms


def _clause(name: str, after: Mapping[str, str], inner: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The phases of a VP: what may come `after` it, and what `inner` clause its last noun may have."""
    noun = {"adjective": f"{name} noun", "person": f"{name} being", "animal": f"{name} being", "thing": f"{name} thing"}
    return {
        f"{name} verb": _verb(name),
        f"{name} does": {"not": f"{name} does not"},
        f"{name} does not": {"base": f"{name} object"},
        f"{name} is": {"not": f"{name} is not", "participle": f"{name} done"},
        f"{name} is not": {"participle": f"{name} done"},
        f"{name} done": {"by": f"{name} object", **after},
        f"{name} object": {"determiner": f"{name} noun"},
        f"{name} noun": noun,
        f"{name} being": {**after, **inner},
        f"{name} thing": dict(after),
    }


def _verb(name: str) -> dict[str, str]:
    return {"verb": f"{name} object", "does": f"{name} does", "is": f"{name} is"}


END = {".": "start", "and": "main verb"}
RULES = {  # phase -> group of words that may follow -> the phase after it
    "start": {"determiner": "subject"},
    "subject": {"adjective": "subject", "person": "being", "animal": "being", "thing": "thing"},
    "being": {**_verb("main"), "who": "of subject verb"},
    "thing": _verb("main"),
    **_clause("main", END, {"who": "of object verb"}),
    **_clause("of subject", _verb("main"), {}),
    **_clause("of object", END, {}),
    "broken": {},
}
PHASES = tuple(RULES)
START, SUBJECT, BROKEN = (PHASES.index(phase) for phase in ("start", "subject", "broken"))
FAR = 99  # words: longer than any sentence need be


def _table() -> Array:
    """[phases, words] the phase after a word: BROKEN where it does not fit, but for the full stop, which ends any sentence."""
    table = np.full((len(PHASES), len(WORDS)), BROKEN)
    table[:, STOP] = START
    for phase, follows in RULES.items():
        for group, then in follows.items():
            table[PHASES.index(phase), [NUMBER[word] for word in GROUPS[group].split()]] = PHASES.index(then)
    return table


def _among(*words: str) -> Array:
    """[words] bool, which are among these."""
    return np.isin(WORDS, words)


NEXT = _table()
ENDS = np.array(["." in follows for follows in RULES.values()])  # [phases] where a full stop fits
FITS = np.where(np.arange(len(WORDS)) == STOP, ENDS[:, None], NEXT != BROKEN)  # [phases, words]
PASSIVE = np.array([phase.endswith((" is", " is not")) for phase in PHASES])  # [phases] whose verb is done to whom it is about
WHAT = np.select([_among(*GROUPS[kind].split()) for kind in ("person", "animal", "thing")], [PERSON, ANIMAL, THING], NOBODY)
HARMS = np.array([HARM.get(VERBS.get(word, ""), 0.0) for word in WORDS])  # [words] what a verb does
VERB, AFFIRMS = _among(*VERBS), _among(*GROUPS["verb"].split(), "is", "does")  # [words]; a new predicate, not denied so far
NOT, AND, WHO = NUMBER["not"], NUMBER["and"], NUMBER["who"]
EXCITING = (HARMS > 0) | _among("angry")


def _ahead(left: Array) -> Array:
    """[phases, words] the fewest words to the end of the sentence, by way of this word; `left` [phases] after it."""
    return np.where(FITS, 1 + np.where(np.arange(len(WORDS)) == STOP, 0, left[NEXT]), FAR)


def _left() -> Array:
    """[phases] the fewest words that end the sentence well; one that is broken has to begin anew."""
    left = np.full(len(PHASES), FAR)
    for _ in PHASES:
        left = _ahead(left).min(1)
    left[BROKEN] = 1 + left[START]
    return left


LEFT = _left()
SHORTEST = np.where(np.arange(len(PHASES)) == BROKEN, STOP, _ahead(LEFT).argmin(1))  # [phases] the word that is on that way
MENDS = FITS.copy()  # [phases, words] what fits, or ends a broken sentence
MENDS[BROKEN, STOP] = True
AFTER = np.where(np.arange(len(WORDS)) == STOP, 0, LEFT[NEXT])  # [phases, words] the fewest words to the end, after this one


@dataclass
class Reading(Batch):
    """How far B sentences have been read, and what they say so far."""

    phase: Array  # [B] index of PHASES
    subject: Array  # [B] what the sentence is about: NOBODY, THING, ANIMAL or PERSON
    about: Array  # [B] what the clause is about
    noun: Array  # [B] what the last noun stands for
    denied: Array  # [B] bool, whether the clause says "not"
    harm: Array  # [B] that the clause's verb does to its object
    injury: Array  # [B] the worst harm that is done to a person
    alarm: Array  # [B] the worst in the wider circle: to an animal, or denied, it counts half

    @classmethod
    def fresh(cls, batch: int) -> Self:
        """Before the first word of a sentence."""
        nothing, none = np.zeros(batch, int), np.zeros(batch)
        return cls(nothing + START, nothing, nothing, nothing, nothing.astype(bool), none, none, none)

    def then(self, word: Array) -> Self:
        """One word [B] further."""
        phase, what, verb, passive = NEXT[self.phase, word], WHAT[word], VERB[word], PASSIVE[self.phase]
        says = (phase != START) & (phase != BROKEN)  # an ended sentence is done with, a broken one says nothing
        first = (self.phase == SUBJECT) & (what > 0)
        noun, subject = np.where(what > 0, what, self.noun), np.where(first, what, self.subject)
        about = np.select([first, word == WHO, word == AND], [what, self.noun, self.subject], self.about)
        denied = (self.denied & ~AFFIRMS[word]) | (word == NOT)
        victim, harm = np.where(verb & passive, self.about, what), np.where(verb & passive, HARMS[word], self.harm)
        alarm = harm * ALARM[victim, denied.astype(int)] * ((verb & passive) | (what > 0))
        hurt = np.where((victim == PERSON) & ~denied, alarm, 0.0)
        return type(self)(
            phase=phase,
            subject=says * subject,
            about=says * about,
            noun=says * noun,
            denied=says & denied,
            harm=says * np.where(verb, np.where(passive, 0.0, HARMS[word]), self.harm),
            injury=says * np.maximum(self.injury, hurt),
            alarm=says * np.maximum(self.alarm, alarm),
        )
