"""Why a job or a batch has a problem: the closed sets of codes that are stored with them. Standard library only.

Codes for files of batches are in service.batches.files.problems; codes of answers to callers in service.errors.
docs/api.md says what each code means.
"""

from enum import StrEnum


class JobProblem(StrEnum):
    """Why a job has no result, or none yet."""

    MODEL_FAILED = "model_failed"
    RUN_TIMED_OUT = "run_timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    PREDICTION_INVALID = "prediction_invalid"
    ARTIFACTS_TOO_LARGE = "artifacts_too_large"
    INPUT_UNREADABLE = "input_unreadable"
    UPLOAD_GONE = "upload_gone"
    SOURCE_RESULT_GONE = "source_result_gone"
    SOURCE_RESULT_UNFIT = "source_result_unfit"
    BLOB_UNAVAILABLE = "blob_unavailable"
    DATABASE_UNAVAILABLE = "database_unavailable"  # of retries alone
    PREDECESSOR_FAILED = "predecessor_failed"
    DEADLINE_PASSED = "deadline_passed"
    WORKER_CRASHED = "worker_crashed"


class BatchProblem(StrEnum):
    """Why a batch ended without completing, or why work on it is retried; faults of its file are listed elsewhere."""

    TOO_MANY_ERRORS = "too_many_errors"
    ACCOUNTING_MISMATCH = "accounting_mismatch"
    SOURCE_AWAITED = "source_awaited"
    SOURCE_UNAVAILABLE = "source_unavailable"
    DEADLINE_PASSED = "deadline_passed"
    WORKER_CRASHED = "worker_crashed"
    INTERNAL_ERROR = "internal_error"
