"""What a pipeline may return, whoever wrote it: anything else counts as the model's failure on these cases."""

from collections.abc import Sequence

from models.pipelines import Answer, RowFault
from models.pipelines.artifacts import answer_fault
from workers.runtime import RunFailed


def check_answers(answers: Sequence[Answer], count: int) -> None:
    """Raises RunFailed unless there are `count` answers, each an object, with artifacts that can be stored."""
    if len(answers) != count:
        raise RunFailed(f"{len(answers)} answers for {count} cases")
    for answer in answers:
        fault = answer_fault(answer)
        if fault is not None:
            raise RunFailed(fault)


def check_row(fault: RowFault, count: int) -> None:
    """Raises RunFailed if a fault names none of `count` cases."""
    if not (isinstance(fault.index, int) and 0 <= fault.index < count):
        raise RunFailed("a fault of a row names none of the cases") from fault
