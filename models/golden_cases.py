"""The cases of golden.json: an input, the options of the job, and the expected answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

from pydantic import Field

from models.difference import shortened
from models.golden_parts import file_bytes, golden_part
from models.manifest import BundleRefused, Fault, ManifestTable, parse_table
from models.pipelines import Case, FieldFault, InputRejected, Pipeline
from models.pipelines.parts import take_apart
from models.strict_json import JsonInvalid, read_json

GOLDEN_NAME: Final = "golden.json"
FEWEST_CASES: Final = 5
NO_GOLDEN: Final = (
    f"add this file to the bundle, with at least {FEWEST_CASES} cases that differ in their inputs or options: "
    '{"cases": [{"input": ...}, ...]}; `seal --golden` writes what the model answers to each'
)


class GoldenFailed(BundleRefused):
    """The golden cases could not be read or scored."""


class GoldenCase(ManifestTable):
    """One input and the expected part of its result. Numbers may differ by `tolerance` (absolute)."""

    input: Any
    options: dict[str, Any] = Field(default_factory=dict)
    expected: dict[str, Any]
    tolerance: float = Field(1e-4, ge=0, le=0.1)
    note: str = ""


class _CaseToRenew(GoldenCase):
    """A case that may have no expected result yet."""

    expected: dict[str, Any] = Field(default_factory=dict)


class _GoldenFile(ManifestTable):
    cases: Annotated[tuple[_CaseToRenew, ...], Field(strict=False)]


def parse_golden(text: str, *, renewing: bool = False) -> tuple[GoldenCase, ...]:
    """The cases written in `text` (JSON); for `renewing` they may lack the answer. Raises BundleRefused."""
    cases = parse_table(_GoldenFile, golden_table(text), file=GOLDEN_NAME, code="golden_invalid").cases
    unanswered = [place for place, case in enumerate(cases) if "expected" not in case.model_fields_set]
    if unanswered and not renewing:
        raise GoldenFailed(*(_without_answer(place, cases[place]) for place in unanswered))
    return cases


def _without_answer(index: int, case: GoldenCase) -> Fault:
    note = f" ({shortened(case.note)})" if case.note else ""
    detail = (
        f"case {index} of the list, counted from 0{note}, does not say what the model must answer: write the part of the "
        'result that must come out, such as "expected": {"label": "benign"}, or let `medqueue models seal --golden` write '
        "what the model answers now, and check that it is right"
    )
    return Fault(f"{GOLDEN_NAME}: cases[{index}].expected", "golden_invalid", detail)


def golden_table(text: str) -> Any:
    """golden.json's `text` as JSON values. Raises GoldenFailed."""
    try:
        return read_json(text.encode())
    except JsonInvalid as error:
        raise GoldenFailed(Fault(GOLDEN_NAME, "golden_invalid", f"not JSON: {error}")) from None


def encode_cases(cases: Sequence[GoldenCase], pipeline: Pipeline) -> list[Case]:
    """The cases' inputs as they would be stored. Raises GoldenFailed at the first refused input."""
    stored = []
    for index, case in enumerate(cases):
        try:
            stored.append(encoded(case, pipeline))
        except InputRejected as error:
            raise GoldenFailed(rejected(index, error)) from None
    return stored


def encoded(case: GoldenCase, pipeline: Pipeline) -> Case:
    """Encode a case. Raises InputRejected with the faults of its parts, input and options; the last begin with /options."""
    rest, given = take_apart(case.input, pipeline.parts)
    faults: list[FieldFault] = []
    parts: dict[str, bytes] = {}
    for name, value in given.items():
        with _noted(faults):
            parts[name] = golden_part(pipeline, name, value)
    with _noted(faults):
        payload = pipeline.encode(as_sent(rest, pipeline))
    with _noted(faults, "/options"):
        options = pipeline.check_options(case.options)
    if faults:
        raise InputRejected(*faults)
    return Case(payload, options, parts)


@contextmanager
def _noted(faults: list[FieldFault], inside: str = "") -> Iterator[None]:
    """Add the faults that InputRejected brings to `faults`, their pointers within `inside`."""
    try:
        yield
    except InputRejected as error:
        faults += [FieldFault(f"{inside}{fault.pointer}", fault.code, fault.detail) for fault in error.faults]


def rejected(index: int, error: InputRejected) -> Fault:
    """The fault of a case whose input is refused."""
    reasons = "; ".join(f"{fault.pointer} {fault.detail}".lstrip() for fault in error.faults)
    return case_fault(index, "golden_input_rejected", reasons)


def as_sent(value: object, pipeline: Pipeline) -> object:
    """The value to pass to `encode` for an input; for a file, its bytes."""
    return file_bytes(value) if pipeline.binary else value


def case_fault(index: int, code: str, detail: str) -> Fault:
    """A fault of one case."""
    return Fault(f"{GOLDEN_NAME}: case {index}", code, detail)
