"""Words that the rules of notes know, and where they stand: single words, speakers, negations and numbers of a dialogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.training.note_stops import PAUSE, UNKNOWN
from models.training.note_tensors import ahead, any_of_group, behind, numbered
from models.training.note_texts import ODD, POINT
from models.training.spoken_numbers import FRACTIONS, JOINS, LARGE, NUMERALS

PIECES: Final = 4  # most of a word that a rule asks for
DOCTOR, PATIENT, GUEST, STRANGER = 1, 2, 3, 4  # who speaks
GUEST_PIECES: Final = 4  # most of the name of a guest, as of `clinician`
SENTENCE_ENDS: Final = (".", "?", "!")
CLAUSE_ENDS: Final = (*SENTENCE_ENDS, ",", ";")
GLUE: Final = ("-", "/", "'", POINT, "%")
NEGATIONS: Final = (
    "no", "not", "never", "none", "nothing", "nobody", "neither", "nor", "without", "nope", "nah", "cannot", "negative",
    "deny", "denies", "denied", "denying", "unable", "lack", "lacks", "lacking", "absent", "absence", "hardly", "rarely",
    "barely", "seldom", "refuse", "refused", "refuses", "decline", "declined", "declines", "fail", "failed", "fails",
)  # fmt: skip
REVERSING: Final = (
    "stop", "stops", "stopped", "stopping", "quit", "avoid", "avoids", "discontinue", "discontinued", "discontinuing",
    "hold", "if", "unless", "except", "until", "whether", "instead", "used", "ruled", "rule", "free", "resolved", "gone",
    "anymore", "former", "formerly", "would", "might", "may", "maybe", "could", "should", "risk", "half", "quarter", "less",
    "more", "than", "under", "below", "above", "rather", "wrong", "false", "mistake", "mistaken", "incorrect", "thought",
    "think", "suspect", "suspected", "possible", "possibly", "likely", "unlikely", "doubt", "concern", "concerned",
    "worried", "afraid", "away", "switched", "switch", "changed", "missed", "forgot", "supposed", "subsided", "cured",
    "recovered", "actually", "almost", "nearly", "mean", "meant", "sorry", "correction", "scared", "fear", "hope", "wish",
    "want", "wanted", "seems",
)  # fmt: skip
"""Words that do not deny, but change what a sentence says about the others: what was stopped, conditions, what is not so."""
RELATIVES: Final = (
    "mother", "mom", "father", "dad", "parents", "brother", "brothers", "sister", "sisters", "siblings", "aunt", "uncle",
    "cousin", "son", "daughter", "grandmother", "grandfather", "grandparents", "grandma", "grandpa", "wife", "husband",
    "partner", "friend", "boyfriend", "girlfriend", "nephew", "niece", "family",
)  # fmt: skip
ALLERGIES: Final = ("allergic", "allergy", "allergies")
TURNING: Final = (*RELATIVES, *ALLERGIES)
FILLERS: Final = (
    "oh", "um", "uh", "well", "okay", "ok", "so", "and", "alright", "hm", "ah", "now", "then", "also", "or",
)  # fmt: skip
HARMLESS: Final = (
    "a", "an", "the", "am", "is", "are", "have", "has", "been", "some", "very", "oh", "um", "uh", "hm", "ah",
)  # fmt: skip
"""Words without which a sentence says the same, whatever it is about."""
OTHERS: Final = ("he", "she", "they", "him", "his", "her", "their")
PRONOUNS: Final = ("i", "you", "he", "she", "it", "we", "they", "there")
AUXILIARIES: Final = (
    "do", "does", "did", "are", "is", "was", "were", "am", "have", "has", "had", "can", "could", "will", "would", "should",
)  # fmt: skip
ENGLISH: Final = (
    "the", "you", "your", "of", "and", "is", "are", "it", "that", "this", "any", "my", "have", "with", "for", "do", "did",
    "does", "how", "what", "when", "which", "where", "who", "i", "not", "yes", "been", "were", "we", "they", "she",
    "about", "there", "can", "to", "in", "had", "at", "from", "okay", "yeah", "your", "his", "her", "be", "but", "if", "some",
    "ever", "or", "after", "before", "because", "since",
)  # fmt: skip
"""Words that make up a good part of any English dialogue, whatever it is about."""

MARKS: Final = (*CLAUSE_ENDS, *GLUE, ":", "_", ODD, PAUSE)
SPOKEN: Final = (
    *NUMERALS, *JOINS, *TURNING, *ENGLISH, "percent", "per", "cent", "out", "a", "an", "doctor", "patient", "guest", "t", "no",
    "point", "minus", "plus", "may",
)  # fmt: skip


class Turns(NamedTuple):
    """Of each token [N,L]: whether a turn begins at it, whether it names the speaker, and the number of its turn from 1 (0
    before the first) and of who speaks (1 doctor, 2 patient, 3 guest, 4 unknown, 0 nobody)."""

    begins: Tensor
    names: Tensor
    number: Tensor
    speaker: Tensor


class Words(nn.Module):
    """Knows which tokens are what. `tokenizer` is of word pieces in small letters."""

    continues: Tensor
    spoken: Tensor
    digits: Tensor
    years: Tensor
    first: Tensor
    ruled: Tensor
    codes: Tensor
    attached: Tensor
    drug_codes: Tensor
    longer_drug_codes: Tensor
    condition_codes: Tensor
    longer_condition_codes: Tensor

    def __init__(
        self, tokenizer: Tokenizer, ruled: Iterable[str], drugs: Iterable[str], conditions: Iterable[str]
    ) -> None:
        """`ruled` are the words that are asked for, `drugs` names of one word, `conditions` words by which diseases and what
        causes them are named; of both, those are known that consist of pieces in the vocabulary. Raises ValueError if the
        vocabulary lacks one of `ruled`."""
        super().__init__()
        self._tokenizer = tokenizer
        names = [tokenizer.id_to_token(token) or "" for token in range(tokenizer.get_vocab_size())]
        plain = [name.removeprefix("##") for name in names]
        self.vocabulary = len(names)
        self._ruled = {name: at for at, name in enumerate(sorted({*ruled, *MARKS}), 1)}
        pieces = {name: self._pieces(name) for name in self._ruled}
        longer = {name: each for name, each in pieces.items() if len(each) > 1}
        first = [*range(self.vocabulary), *range(self.vocabulary), *(each[0] for each in longer.values())]
        ruled_by = [0] * len(first)
        for name, each in pieces.items():
            form = each[0] if len(each) == 1 else 2 * self.vocabulary + list(longer).index(name)
            ruled_by[form] = self._ruled[name]
        years = [len(name) == 4 and name.isdecimal() and name[:2] in {"19", "20"} for name in names]
        for name, flags in {
            "continues": [name.startswith("##") for name in names],
            "spoken": [name[:1].isalnum() for name in plain],
            "digits": [name[:1].isdigit() for name in plain],
            "years": years,
            "attached": [name in {"##mg", "##mcg", "##ml"} for name in names],
        }.items():
            self.register_buffer(name, torch.tensor([flags[each] for each in first]))
        self.register_buffer("first", torch.tensor(first))
        self.register_buffer("ruled", torch.tensor(ruled_by, dtype=torch.int32))
        self.register_buffer("codes", torch.tensor([self._code(each) for each in longer.values()]))
        for kind, of_kind in (("drug", drugs), ("condition", conditions)):
            known = [self._known_pieces(name) for name in sorted(of_kind)]
            for name, codes in {
                f"{kind}_codes": {self._code(each) for each in known if 0 < len(each) <= PIECES},
                f"longer_{kind}_codes": {self._code(each[:PIECES]) for each in known if len(each) > PIECES},
            }.items():
                self.register_buffer(name, torch.tensor(sorted(codes), dtype=torch.int64))
        self.end, self.pad = (tokenizer.token_to_id(name) for name in ("[SEP]", "[PAD]"))

    def id_of(self, name: str) -> int:
        """The id of a token. Raises ValueError if the vocabulary lacks it."""
        found = self._tokenizer.token_to_id(name)
        if found in {None, self._tokenizer.token_to_id("[UNK]")}:
            raise ValueError(f"the vocabulary lacks {name}, which a rule needs")
        return int(found)

    def _pieces(self, name: str) -> list[int]:
        found = [self.id_of(each.value) for each in self._tokenizer.model.tokenize(name)]
        if len(found) > PIECES:
            raise ValueError(f"{name}, which a rule needs, has more than {PIECES} pieces")
        return found

    def _known_pieces(self, name: str) -> list[int]:
        """The pieces of a name; none if the vocabulary lacks one of them."""
        found = [each.value for each in self._tokenizer.model.tokenize(name)]
        return [] if "[UNK]" in found else [self.id_of(each) for each in found]

    def _code(self, pieces: Sequence[int]) -> int:
        return sum((piece + 1) * (self.vocabulary + 1) ** step for step, piece in enumerate(pieces))

    def forms(self, ids: Tensor) -> Tensor:
        """Ids [N,L], where a word goes on beyond the vocabulary: `no` is not the `no` of `nodes`.

        A word of several pieces that is asked for has a number of its own, at its first piece.
        """
        longer = ahead(self.continues[ids], 1)
        code, cut = self.codes_of(ids)
        same = (code[:, :, None] == self.codes) & ~cut[:, :, None]
        place = (same.long() * torch.arange(len(self.codes))).sum(2)
        return torch.where(
            same.any(2), 2 * self.vocabulary + place, ids + self.vocabulary * longer.to(ids.dtype)
        )

    def codes_of(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Of the word that begins at each of the ids or forms [N,L], the code of its first pieces, and whether more follow."""
        ids = self.first[ids]
        goes_on, code = torch.ones_like(ids, dtype=torch.bool), ids + 1
        for step in range(1, PIECES):
            goes_on = goes_on & ahead(self.continues[ids], step)
            code = code + (self.vocabulary + 1) ** step * torch.where(
                goes_on, ahead(ids, step) + 1, torch.zeros_like(ids)
            )
        return code, goes_on & ahead(self.continues[ids], PIECES)

    def drugs(self, ids: Tensor) -> Tensor:
        """Whether the name of a drug begins at each token [N,L], of which the `forms` are given."""
        return self._begins(ids, self.drug_codes, self.longer_drug_codes)

    def conditions(self, ids: Tensor) -> Tensor:
        """The same of words by which diseases and what causes them are named."""
        return self._begins(ids, self.condition_codes, self.longer_condition_codes)

    def _begins(self, ids: Tensor, codes: Tensor, longer_codes: Tensor) -> Tensor:
        code, cut = self.codes_of(ids)
        short = (code[:, :, None] == codes).any(2) & ~cut
        longer = (code[:, :, None] == longer_codes).any(2) & cut
        return (short | longer) & ~self.continues[ids]

    def any_of(self, ids: Tensor, names: Sequence[str]) -> Tensor:
        """Whether a word that is one of those named begins at each token, of which the `forms` are given.

        Raises KeyError if one of them is not among those that the rules ask for.
        """
        wanted = {self._ruled[name] for name in names}
        table = torch.tensor([at in wanted for at in range(len(self._ruled) + 1)])
        return table[self.ruled[ids].long()]

    def turns(self, ids: Tensor, most: int = 1) -> Turns:
        """Where turns begin: `Doctor:`, `Patient:`, `Guest_family:`. Names of guests have at most so many pieces."""
        colon = self.any_of(ids, [":"])
        speaker, names = torch.zeros_like(ids), torch.zeros_like(colon)
        lengths = [
            (1, "doctor", 1),
            (2, "patient", 1),
            (4, UNKNOWN, 1),
            *((3, "guest", 2 + pieces) for pieces in range(1, most + 1)),
        ]
        for number, name, length in lengths:
            begins = self.any_of(ids, [name]) & ahead(colon, length)
            if number == 3:  # guest, _, who
                begins = begins & ahead(self.any_of(ids, ["_"]), 1)
            for step in range(3, length):
                begins = begins & ahead(self.continues[ids], step)
            speaker = speaker + number * begins.to(ids.dtype)
            for step in range(length + 1):
                names = names | behind(begins, step)
        begins = speaker > 0
        number = torch.cumsum(begins.to(ids.dtype), 1)
        same = (number[:, :, None] == number[:, None, :]).float()
        return Turns(begins, names, number, (same @ speaker.float()[..., None])[..., 0].round().to(ids.dtype))

    def inside(self, ids: Tensor, mask: Tensor, turns: Turns) -> Tensor:
        """Whether a token is of what somebody says, words and marks."""
        return (mask > 0) & (turns.number > 0) & ~turns.names & (ids != self.end)

    def may_be_kept(self, ids: Tensor, mask: Tensor, turns: Turns) -> Tensor:
        """Whether a token is of a word that somebody says."""
        return self.inside(ids, mask, turns) & self.spoken[ids]

    def of_words(self, which: Tensor, ids: Tensor) -> Tensor:
        """Whether a token [N,L] is of a word with one of `which`."""
        return any_of_group(which, numbered(~self.continues[ids]))

    def contracted(self, ids: Tensor) -> Tensor:
        """Where `don't` and its like begin; each has three tokens."""
        return ahead(self.any_of(ids, ["'"]), 1) & ahead(self.any_of(ids, ["t"]), 2)

    def negations(self, ids: Tensor) -> Tensor:
        """Where negations begin."""
        return self.any_of(ids, NEGATIONS) | self.contracted(ids)

    def numbers(self, ids: Tensor, inside: Tensor) -> Tensor:
        """The number [N,L] of the number that each token belongs to; 0 for other tokens.

        A number is a run of digits and words of numbers with what joins them: `one forty five over 90`, `2 to 4`, `10 out of
        10`, `one and a half`, `July 4, 2009`, `7.5`, `10/12`, `50%`.
        """
        digits = self.digits[ids]
        plain = self.of_words(self.any_of(ids, NUMERALS) | digits, ids)
        article = self.any_of(ids, ["a", "an"]) & ahead(self.any_of(ids, (*LARGE, *FRACTIONS)), 1)
        plain = plain | article
        marks = self.any_of(ids, ["-", "/", POINT, ":"]) & behind(plain, 1) & ahead(plain, 1)
        joins = self.any_of(ids, JOINS) & behind(plain, 1) & ahead(plain, 1)
        out = (
            self.any_of(ids, ["out"])
            & ahead(self.any_of(ids, ["of"]), 1)
            & behind(plain, 1)
            & ahead(plain, 2)
        )
        dates = self.any_of(ids, [","]) & behind(plain, 1) & ahead(self.years[ids], 1)
        share = self.any_of(ids, ["%", "percent"]) | (
            self.any_of(ids, ["per"]) & ahead(self.any_of(ids, ["cent"]), 1)
        )
        share = share & behind(plain, 1)
        cent = self.any_of(ids, ["cent"]) & behind(share, 1)
        leading = self.any_of(ids, ["point", "minus", "plus", "may"]) & ahead(plain, 1)
        every = inside & (plain | marks | joins | out | behind(out, 1) | dates | share | cent | leading)
        return numbered(every & ~behind(every, 1)) * every
