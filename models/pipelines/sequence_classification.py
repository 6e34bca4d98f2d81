"""`sequence-classification`: letters of DNA, RNA or a protein in, one of a few classes out.

The graph takes `sequence` float32 [N,L,A], the share of each of the A `letters` at each of L places: 1 for a letter itself,
equal shares for the letters that an ambiguity code stands for (IUPAC-IUB, Eur J Biochem 150:1, 1985, for nucleotides;
J Biol Chem 243:3557, 1968, for amino acids), 0 past the end of a sequence that is shorter than the others of its run. A graph
for sequences of more than one length also takes `mask` float32 [N,L]: 1 up to the end, 0 beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, create_model, model_validator

from models.field_codes import FieldCode
from models.lazy import np
from models.pipelines.classification_parameters import ClassificationParameters, Share
from models.pipelines.contract import ANY_LENGTH, FieldFault, InputRejected, ReadFile, TensorSpec
from models.pipelines.typed import TypedInput
from models.pipelines.typed_classification import TypedClassification
from models.pipelines.typed_faults import FORM

if TYPE_CHECKING:
    from models.pipelines.contract import Array

# What each letter stands for, by alphabet. A letter that stands for itself is one of the graph's.
NUCLEOTIDES: Final = {
    "A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip
AMINO_ACIDS: Final = {each: each for each in "ACDEFGHIKLMNPQRSTVWY"} | {
    "B": "DN", "Z": "EQ", "J": "IL", "X": "ACDEFGHIKLMNPQRSTVWY",
}  # fmt: skip
ALPHABETS: Final[Mapping[str, Mapping[str, str]]] = {
    "dna": NUCLEOTIDES,
    "rna": {key.replace("T", "U"): each.replace("T", "U") for key, each in NUCLEOTIDES.items()},
    "protein": AMINO_ACIDS,
}
_NAMES: Final = {"dna": "DNA", "rna": "RNA", "protein": "amino acids"}


def _plain(alphabet: str) -> str:
    return "".join(key for key, each in ALPHABETS[alphabet].items() if key == each)


def _form(alphabet: str) -> str:
    """Which letters a sequence may have, for messages."""
    plain = _plain(alphabet)
    several = "".join(key for key in ALPHABETS[alphabet] if key not in plain)
    other = {"dna": ", with T where RNA has U", "rna": ", with U where DNA has T"}.get(alphabet, "")
    return f", the letters {plain} and, where one is not certain, {several}{other}"


class SequenceParameters(ClassificationParameters):
    """The `[parameters]` table of a sequence classification manifest."""

    alphabet: Literal["dna", "rna", "protein"]
    letters: str = Field("", description="the graph's letters in its order; the alphabet's if empty")
    shortest: int = Field(ge=1, le=1_000_000, description="fewest letters of a sequence")
    longest: int = Field(ge=1, le=1_000_000, description="most letters of a sequence")
    ambiguous: Share = Field(0.1, description="largest share of letters that stand for several")
    core: tuple[int, int] | None = Field(
        None, strict=False, description="first place and end of those where each letter must be certain"
    )
    title: str = "Sequence"
    example: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError("shortest must not exceed longest")
        plain = _plain(self.alphabet)
        if self.letters and sorted(self.letters) != sorted(plain):
            raise ValueError(f"letters: name each of {plain} once, in the order of the graph")
        if self.core and not (
            self.shortest == self.longest and 0 <= self.core[0] < self.core[1] <= self.longest
        ):
            raise ValueError("core: give [start, end), counted from 0, within sequences of one length")
        return self

    @property
    def plain(self) -> str:
        """The letters that stand for themselves: the graph's, in its order."""
        return self.letters or _plain(self.alphabet)


class SequenceInput(TypedInput):
    """One sequence. Small letters are read as capitals: they only say that a repeat was masked."""

    sequence: str


class SequenceClassification(TypedClassification[SequenceParameters, SequenceInput]):
    """The pipeline. Immutable once made."""

    def prepare(self, read: ReadFile) -> None:  # noqa: ARG002 - it has no side files
        """Bound the length of the input's type, and lay out what each letter is fed as."""
        given, alphabet = self.parameters, ALPHABETS[self.parameters.alphabet]
        example = given.example or "".join(
            given.plain[place % len(given.plain)] for place in range(given.shortest)
        )
        field: Any = Field(
            title=given.title,
            description=f"{_NAMES[given.alphabet]}, letters of IUPAC ({''.join(alphabet)}), in one piece",
            min_length=given.shortest,
            max_length=given.longest,
            pattern=f"^[{''.join(alphabet)}{''.join(alphabet).lower()}]*$",
            json_schema_extra={FORM: _form(given.alphabet)},
            examples=[example],
        )
        self.input_type = create_model(
            "SequenceInput", __base__=SequenceInput, sequence=(Annotated[str, field], ...)
        )
        self._several = {key for key, each in alphabet.items() if key != each}
        self._fixed = given.shortest == given.longest
        self._shares: Array | None = None

    @property
    def feeds(self) -> tuple[TensorSpec, ...]:
        """See the module."""
        length, letters = self.parameters.longest if self._fixed else ANY_LENGTH, len(self.parameters.plain)
        sequence = TensorSpec("sequence", "float32", (length, letters))
        return (sequence,) if self._fixed else (sequence, TensorSpec("mask", "float32", (length,)))

    def check(self, value: SequenceInput) -> None:
        """Refuse a sequence with too many letters that stand for several."""
        sequence, most = value.sequence.upper(), self.parameters.ambiguous
        if sum(map(sequence.count, self._several)) > most * len(sequence):
            detail = f"At most {most:.0%} of the letters may stand for several: send a sequence that was read more surely."
            raise InputRejected(FieldFault("/sequence", FieldCode.TOO_AMBIGUOUS, detail))

    def doubt(self, value: SequenceInput, label: str | None) -> str | None:  # noqa: ARG002 - of all labels
        """See TypedClassification: no label is answered if a letter of the core stands for several."""
        if self.parameters.core is None:
            return None
        start, end = self.parameters.core
        if self._several.isdisjoint(value.sequence[start:end].upper()):
            return None
        return f"a letter in places {start + 1} to {end}, on which the answer rests, is not certain"

    def length_of(self, value: SequenceInput) -> int:
        """Its letters."""
        return len(value.sequence)

    def feeds_of(self, values: Sequence[SequenceInput], length: int) -> Mapping[str, Array]:
        """See the module."""
        longest = self.parameters.longest if self._fixed else length
        table = self._table()
        sequence = np.zeros((len(values), longest, table.shape[1]), np.float32)
        mask = np.zeros((len(values), longest), np.float32)
        for row, value in enumerate(values):
            codes = np.frombuffer(value.sequence.encode("ascii"), np.uint8)
            sequence[row, : len(codes)] = table[codes]
            mask[row, : len(codes)] = 1
        return {"sequence": sequence} if self._fixed else {"sequence": sequence, "mask": mask}

    def _table(self) -> Array:
        """float32 [128,A]: the shares of an ASCII letter. Made when first scored, since the API has no numpy."""
        if self._shares is None:
            plain, table = self.parameters.plain, np.zeros((128, len(self.parameters.plain)), np.float32)
            for key, each in ALPHABETS[self.parameters.alphabet].items():
                for letter in each:
                    table[[ord(key), ord(key.lower())], plain.index(letter)] = 1 / len(each)
            self._shares = table
        return self._shares


load = SequenceClassification.load
