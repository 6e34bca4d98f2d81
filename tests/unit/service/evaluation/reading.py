"""What tests of evaluations read from them."""

from service.cli.evaluation.figures import Evaluation


def value(found: Evaluation, name: str, group: str = "all") -> float:
    [figure] = [each for each in found.figures if (each.group, each.name) == (group, name)]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= figure.value <= figure.high
    return figure.value
