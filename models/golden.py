"""golden.json: inputs with the answers that a model must give, scored alone, in one batch, and in reverse order.

This detects a graph that mixes the rows of a batch, and a pipeline that loses their order, before publication. Contains the
cases and the comparison; the function that runs a graph is passed in.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeGuard

from pydantic import Field

from models.golden_parts import file_bytes, golden_part
from models.manifest import BundleRefused, Fault, ManifestTable, parse_table
from models.pipelines import Answer, Case, FieldFault, InputRejected, Pipeline, Run, Scoring
from models.pipelines.artifacts import LISTING, artifacts_fault
from models.pipelines.parts import take_apart
from models.strict_json import JsonInvalid, read_json

GOLDEN_NAME = "golden.json"
FEWEST_CASES = 5
TOO_FEW = "golden_too_few"

Result = Mapping[str, object]


class GoldenFailed(BundleRefused):
    """The golden cases could not be read or scored."""


class GoldenCase(ManifestTable):
    """One input and the expected part of its result. Numbers may differ by `tolerance` (absolute)."""

    input: Any
    options: dict[str, Any] = Field(default_factory=dict)
    expected: dict[str, Any]
    tolerance: float = Field(1e-4, ge=0, le=0.1)
    note: str = ""


class _GoldenFile(ManifestTable):
    cases: Annotated[tuple[GoldenCase, ...], Field(strict=False)]


class _CaseToRenew(GoldenCase):
    """A case that may have no expected result yet."""

    expected: dict[str, Any] = Field(default_factory=dict)


class _FileToRenew(ManifestTable):
    cases: Annotated[tuple[_CaseToRenew, ...], Field(strict=False)]


def parse_golden(text: str, *, renewing: bool = False) -> tuple[GoldenCase, ...]:
    """The cases written in `text` (JSON); for `renewing` they may lack the answer. Raises BundleRefused."""
    file: type[_GoldenFile | _FileToRenew] = _FileToRenew if renewing else _GoldenFile
    return parse_table(file, _table(text), file=GOLDEN_NAME, code="golden_invalid").cases


def _table(text: str) -> Any:
    """golden.json's `text` as JSON values. Raises GoldenFailed."""
    try:
        return read_json(text.encode())
    except JsonInvalid as error:
        raise GoldenFailed(Fault(GOLDEN_NAME, "golden_invalid", f"not JSON: {error}")) from None


def check_golden(
    cases: Sequence[GoldenCase], pipeline: Pipeline, scoring: Scoring, tolerance: float, run: Run
) -> list[Fault]:
    """Faults of a bundle's cases: those of check_inputs, or if there are none, those of compare_golden."""
    return check_inputs(cases, pipeline) or compare_golden(cases, pipeline, scoring, tolerance, run)


def check_inputs(cases: Sequence[GoldenCase], pipeline: Pipeline) -> list[Fault]:
    """Faults that can be found without running a graph: too few cases, and inputs that the pipeline refuses."""
    faults = []
    if len(cases) < FEWEST_CASES:
        faults.append(Fault(GOLDEN_NAME, TOO_FEW, f"give at least {FEWEST_CASES} cases"))
    for index, case in enumerate(cases):
        try:
            stored = _encoded(case, pipeline)
            again = pipeline.encode(_as_sent(pipeline.decode(stored.payload), pipeline))
        except InputRejected as error:
            faults.append(_rejected(index, error))
        except Exception as error:  # noqa: BLE001 - the code of somebody's package, which may raise anything
            reason = f"the pipeline fails on this input: {type(error).__name__}: {error}"
            faults.append(_fault(index, "golden_failed", reason))
        else:
            if again != stored.payload:
                reason = "the stored input is read back differently: fix `encode` or `decode` of the pipeline"
                faults.append(_fault(index, "golden_not_read_back", reason))
    return faults


def compare_golden(
    cases: Sequence[GoldenCase],
    pipeline: Pipeline,
    scoring: Scoring,
    tolerance: float,
    run: Run,
    *,
    largest: int | None = None,
) -> list[Fault]:
    """Faults of the cases scored alone, in batches of at most `largest` (by default one), and in reverse order.

    All three must give what is expected; the last two must also equal the first within `tolerance`.
    """
    most = largest or len(cases)
    try:
        stored = encode_cases(cases, pipeline)
        alone = [answer([case], scoring, run)[0] for case in stored]
        batched = _in_batches(stored, most, scoring, run)
        turned = _in_batches(stored[::-1], most, scoring, run)[::-1]
    except BundleRefused as error:
        return list(error.faults)
    return [
        *_compare_expected(cases, alone, "golden_alone"),
        *_compare_expected(cases, batched, "golden_batched"),
        *_compare_expected(cases, turned, "golden_reordered"),
        *_compare_with_alone(alone, batched, tolerance, "golden_batched"),
        *_compare_with_alone(alone, turned, tolerance, "golden_reordered"),
    ]


def _in_batches(cases: Sequence[Case], most: int, scoring: Scoring, run: Run) -> list[Result]:
    starts = range(0, len(cases), most)
    return [each for start in starts for each in answer(cases[start : start + most], scoring, run)]


def encode_cases(cases: Sequence[GoldenCase], pipeline: Pipeline) -> list[Case]:
    """The cases' inputs as they would be stored. Raises GoldenFailed at the first refused input."""
    stored = []
    for index, case in enumerate(cases):
        try:
            stored.append(_encoded(case, pipeline))
        except InputRejected as error:
            raise GoldenFailed(_rejected(index, error)) from None
    return stored


def _encoded(case: GoldenCase, pipeline: Pipeline) -> Case:
    """Encode a case. Raises InputRejected, for options as well; their pointers begin with /options."""
    rest, given = take_apart(case.input, pipeline.parts)
    payload = pipeline.encode(_as_sent(rest, pipeline))
    parts = {name: golden_part(pipeline, name, value) for name, value in given.items()}
    try:
        return Case(payload, pipeline.check_options(case.options), parts)
    except InputRejected as error:
        raise InputRejected(
            *(FieldFault(f"/options{fault.pointer}", fault.code, fault.detail) for fault in error.faults)
        ) from None


def _rejected(index: int, error: InputRejected) -> Fault:
    reasons = "; ".join(f"{fault.pointer} {fault.detail}".lstrip() for fault in error.faults)
    return _fault(index, "golden_input_rejected", reasons)


def renewed_golden(text: str, pipeline: Pipeline, scoring: Scoring, run: Run) -> str:
    """golden.json's `text` with the model's present answer to each case, scored alone. Raises BundleRefused.

    To be used after training, never in a check. A case keeps its expected keys; a case whose `expected` is empty or missing
    gets the whole result.
    """
    table = _table(text)
    cases = parse_table(_FileToRenew, table, file=GOLDEN_NAME, code="golden_invalid").cases
    for case, written, stored in zip(cases, table["cases"], encode_cases(cases, pipeline), strict=True):
        result = answer([stored], scoring, run)[0]
        written["expected"] = {key: _rounded(result.get(key)) for key in case.expected or result}
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def _rounded(value: object) -> object:
    """`value` with floats rounded to seven decimals: float32 holds no more, and diffs stay readable."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 7) if isinstance(value, float) else value


def _as_sent(value: object, pipeline: Pipeline) -> object:
    """The value to pass to `encode` for an input; for a file, its bytes."""
    return file_bytes(value) if pipeline.binary else value


def answer(cases: Sequence[Case], scoring: Scoring, run: Run) -> list[Result]:
    """The results of `cases` scored as one batch. Raises BundleRefused."""
    count = len(cases)
    try:
        answers = scoring.score(run, cases)
    except BundleRefused:  # the graph does not match the manifest; the fault says what to change
        raise
    except Exception as error:  # a runtime may raise anything; all of it counts as the bundle's fault
        reason = f"a batch of {count} cannot be scored: {type(error).__name__}: {error}"
        raise GoldenFailed(Fault(GOLDEN_NAME, "golden_failed", reason)) from error
    if len(answers) != count:
        reason = f"a batch of {count} was given {len(answers)} results"
        raise GoldenFailed(Fault(GOLDEN_NAME, "golden_failed", reason))
    if refused := [fault for fault in map(artifacts_fault, answers) if fault is not None]:
        raise GoldenFailed(Fault(GOLDEN_NAME, "golden_failed", f"an answer is refused: {refused[0]}"))
    return [_with_artifacts(each) for each in answers]


def _with_artifacts(answer: Answer) -> Result:
    """A result with the names and media types of its artifacts, whose bytes may differ by rounding."""
    if not answer.artifacts:
        return answer.result
    listed = [{"name": each.name, "media_type": each.media_type} for each in answer.artifacts]
    return answer.result | {LISTING: listed}


def _compare_expected(cases: Sequence[GoldenCase], results: Sequence[Result], code: str) -> list[Fault]:
    differences = (
        difference(case.expected, result, case.tolerance) for case, result in zip(cases, results, strict=True)
    )
    return [_fault(index, code, reason) for index, reason in enumerate(differences) if reason is not None]


def _compare_with_alone(
    alone: Sequence[Result], others: Sequence[Result], tolerance: float, code: str
) -> list[Fault]:
    differences = (difference(one, other, tolerance) for one, other in zip(alone, others, strict=True))
    return [
        _fault(index, code, f"{reason} as when scored alone; the manifest tolerates {tolerance:g}")
        for index, reason in enumerate(differences)
        if reason is not None
    ]


def difference(expected: object, actual: object, tolerance: float, place: str = "") -> str | None:
    """The first difference of `actual` from the subset `expected`, in words; None if there is none."""
    if isinstance(expected, dict) and isinstance(actual, Mapping):
        keys = ((f"{place}/{key}", value, actual.get(key, "absent")) for key, value in expected.items())
        return next(
            filter(None, (difference(value, found, tolerance, at) for at, value, found in keys)), None
        )
    if isinstance(expected, list) and isinstance(actual, Sequence) and len(expected) == len(actual):
        items = ((f"{place}/{index}", *pair) for index, pair in enumerate(zip(expected, actual, strict=True)))
        return next(
            filter(None, (difference(value, found, tolerance, at) for at, value, found in items)), None
        )
    if _is_number(expected) and _is_number(actual):
        same = math.isclose(expected, actual, rel_tol=0, abs_tol=tolerance)
    else:
        same = type(expected) is type(actual) and expected == actual
    return None if same else f"{place} is {actual!r}; expected {expected!r}"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fault(index: int, code: str, detail: str) -> Fault:
    return Fault(f"{GOLDEN_NAME}: case {index}", code, detail)
