"""Checks of golden cases: that there are enough, and that a model answers each alone, in one batch, and in reverse order.

This detects a graph that mixes the rows of a batch, and a pipeline that loses their order, before publication. Contains the
comparison; the function that runs a graph is passed in.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

from models.difference import difference, shortened
from models.few_values import few_values
from models.golden_cases import (
    FEWEST_CASES,
    GOLDEN_NAME,
    GoldenCase,
    GoldenFailed,
    as_sent,
    case_fault,
    encode_cases,
    encoded,
    golden_table,
    parse_golden,
    rejected,
)
from models.manifest import BundleRefused, Fault
from models.pipelines import (
    Answer,
    Case,
    InputRejected,
    Pipeline,
    PredictionInvalid,
    Run,
    Scoring,
    SinglePass,
)
from models.pipelines.artifacts import LISTING, answer_fault
from models.pipelines.schema_columns import integer_fields, stored_result
from models.row_mixing import answers_in_company

TOO_FEW: Final = "golden_too_few"
ROWS_ADVICE: Final = (
    "Export the graph so that its rows do not affect each other, or set `row_by_row` in [graph] "
    "or [graphs.NAME]"
)

Result = Mapping[str, object]


def check_golden(
    cases: Sequence[GoldenCase], pipeline: Pipeline, scoring: Scoring, tolerance: float, run: Run
) -> list[Fault]:
    """Faults of a bundle's cases: those of check_inputs; if there are none, of compare_golden; then of rows that mix."""
    return (
        check_inputs(cases, pipeline)
        or compare_golden(cases, pipeline, scoring, tolerance, run)
        or _compare_in_company(cases, pipeline, scoring, tolerance, run)
    )


def check_inputs(cases: Sequence[GoldenCase], pipeline: Pipeline) -> list[Fault]:
    """Faults that can be found without running a graph: too few cases, and inputs that the pipeline refuses."""
    faults = []
    if (fewest := _fewest(pipeline)) > (count := _distinct(cases, pipeline)):
        reason = f"give at least {fewest} cases that differ in their inputs or options; there are {count}"
        faults.append(Fault(GOLDEN_NAME, TOO_FEW, reason))
    for index, case in enumerate(cases):
        try:
            stored = encoded(case, pipeline)
            again = pipeline.encode(as_sent(pipeline.decode(stored.payload), pipeline))
        except InputRejected as error:
            faults.append(rejected(index, error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the code of somebody's package, which may raise anything
            reason = shortened(f"the pipeline fails on this input: {type(error).__name__}: {error}")
            faults.append(case_fault(index, "golden_failed", reason))
        else:
            if again != stored.payload:
                reason = "the stored input is read back differently: fix `encode` or `decode` of the pipeline"
                faults.append(case_fault(index, "golden_not_read_back", reason))
    return faults


def _distinct(cases: Sequence[GoldenCase], pipeline: Pipeline) -> int:
    """The number of different cases: by what is stored of them or, if they are refused, by how they are written."""
    return len({_stored(case, pipeline) or _canonical(case.input, case.options) for case in cases})


def _fewest(pipeline: Pipeline) -> int:
    """The number of cases required: FEWEST_CASES, or all possible ones if the pipeline accepts fewer."""
    try:
        inputs, options = few_values(pipeline.input_schema()), few_values(pipeline.options_schema())
    except (Exception, SystemExit):  # noqa: BLE001 - the code of somebody's package; reported with its schemas
        return FEWEST_CASES
    possible: set[object] = set()
    for value, chosen in product(inputs or (), options or ()):
        stored = _stored(GoldenCase(input=value, options=chosen, expected={}, tolerance=0), pipeline)
        possible |= set() if stored is None else {stored}
        if len(possible) == FEWEST_CASES:
            break
    return len(possible) or FEWEST_CASES


def _stored(case: GoldenCase, pipeline: Pipeline) -> tuple[bytes, str, frozenset[tuple[str, bytes]]] | None:
    """What is stored of a case; None if it is refused."""
    try:
        stored = encoded(case, pipeline)
        return stored.payload, _canonical(stored.options), frozenset(stored.parts.items())
    except (Exception, SystemExit):  # noqa: BLE001 - the code of somebody's package; reported with the case
        return None


def _canonical(*values: object) -> str:
    return json.dumps(values, sort_keys=True)


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

    All three must give what is expected, the first as a job would store it; the last two must also equal the first within
    `tolerance`.
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
        *(fault for index, result in enumerate(alone) for fault in _unstorable(index, result, pipeline)),
        *_first_of_each_case(
            *_compare_expected(cases, alone, "golden_alone"),
            *_compare_expected(cases, batched, "golden_batched"),
            *_compare_expected(cases, turned, "golden_reordered"),
        ),
        *_first_of_each_case(
            *_compare_with_alone(alone, batched, tolerance, "golden_batched"),
            *_compare_with_alone(alone, turned, tolerance, "golden_reordered"),
        ),
    ]


def _first_of_each_case(*faults: Fault) -> list[Fault]:
    """One fault of each case, of the simplest arrangement: a wrong answer is as wrong in the others."""
    first: dict[str, Fault] = {}
    for fault in faults:
        first.setdefault(fault.place, fault)
    return list(first.values())


def _compare_in_company(
    cases: Sequence[GoldenCase], pipeline: Pipeline, scoring: Scoring, tolerance: float, run: Run
) -> list[Fault]:
    """Faults of cases that are answered otherwise beside another row of their shape; all cases of a single pass are."""
    if isinstance(pipeline, SinglePass):
        return []

    def score(some: Sequence[Case], by: Run) -> list[Result]:
        return answer(some, scoring, by)

    stored, found = encode_cases(cases, pipeline), dict[int, Fault]()
    try:
        for index, beside in answers_in_company(stored, score, run):
            [alone] = score([stored[index]], run)
            reason = difference(alone, beside, tolerance)
            if reason is not None:
                words = (
                    f"{reason} as when scored alone: another row of the same run changes it. {ROWS_ADVICE}"
                )
                found.setdefault(index, case_fault(index, "golden_batched", words))
    except BundleRefused as refused:
        return [*found.values(), *refused.faults]
    return list(found.values())


def _in_batches(cases: Sequence[Case], most: int, scoring: Scoring, run: Run) -> list[Result]:
    starts = range(0, len(cases), most)
    return [each for start in starts for each in answer(cases[start : start + most], scoring, run)]


def renewed_golden(text: str, pipeline: Pipeline, scoring: Scoring, run: Run) -> str:
    """golden.json's `text` with the model's present answer to each case, scored alone. Raises BundleRefused.

    To be used after training, never in a check. A case keeps its expected keys; a case whose `expected` is empty or missing
    gets the whole result.
    """
    table = golden_table(text)
    cases = parse_golden(text, renewing=True)
    encoded_cases = encode_cases(cases, pipeline)
    for index, (case, written, stored) in enumerate(zip(cases, table["cases"], encoded_cases, strict=True)):
        result = answer([stored], scoring, run)[0]
        if refused := _unstorable(index, result, pipeline):
            raise GoldenFailed(*refused)
        written["expected"] = {key: _rounded(result.get(key)) for key in case.expected or result}
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def _rounded(value: object) -> object:
    """`value` with floats rounded to seven decimals: float32 holds no more, and diffs stay readable."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 7) if isinstance(value, float) else value


def answer(cases: Sequence[Case], scoring: Scoring, run: Run) -> list[Result]:
    """The results of `cases` scored as one batch. Raises BundleRefused."""
    count = len(cases)
    try:
        answers = scoring.score(run, cases)
        wrong = _wrong_count(answers, count) or next(filter(None, map(_refused, answers)), None)
    except BundleRefused:  # the graph does not match the manifest; the fault says what to change
        raise
    except (Exception, SystemExit) as error:  # a runtime may raise anything: the bundle's fault
        reason = shortened(f"a batch of {count} cannot be scored: {type(error).__name__}: {error}")
        raise GoldenFailed(Fault(GOLDEN_NAME, "golden_failed", reason)) from error
    if wrong is not None:
        raise GoldenFailed(Fault(GOLDEN_NAME, "golden_failed", wrong))
    return [_with_artifacts(each) for each in answers]


def _wrong_count(answers: Sequence[Answer], count: int) -> str | None:
    return None if len(answers) == count else f"a batch of {count} was given {len(answers)} results"


def _refused(answer: Answer) -> str | None:
    fault = answer_fault(answer)
    return None if fault is None else f"an answer is refused: {fault}"


def _unstorable(index: int, result: Result, pipeline: Pipeline) -> list[Fault]:
    """The fault of an answer that fails a job."""
    try:
        integers = integer_fields(pipeline.result_schema())
    except (Exception, SystemExit):  # noqa: BLE001  an author's own: the check of schemas tells of it
        integers = ()
    try:
        stored_result(result, integers)
    except PredictionInvalid as invalid:
        reason = f"a job with this answer is refused (prediction_invalid): {invalid.reason}"
        return [case_fault(index, "golden_failed", reason)]
    return []


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
    return [case_fault(index, code, reason) for index, reason in enumerate(differences) if reason is not None]


def _compare_with_alone(
    alone: Sequence[Result], others: Sequence[Result], tolerance: float, code: str
) -> list[Fault]:
    differences = (difference(one, other, tolerance) for one, other in zip(alone, others, strict=True))
    return [
        case_fault(index, code, f"{reason} as when scored alone; the manifest tolerates {tolerance:g}")
        for index, reason in enumerate(differences)
        if reason is not None
    ]
