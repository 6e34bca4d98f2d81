"""Tries a model of texts with as many tokens as its manifest allows: those that its golden cases have are few.

A graph with a table of positions, as of 512, fails on longer texts, whatever `max_tokens` says; scoring would find that out
with somebody's text. What exceeds `max_tokens` is never run: the pipelines abstain from it.
"""

from typing import Protocol, runtime_checkable

from models.manifest import MANIFEST_NAME, Fault
from models.pipelines import Pipeline, Run


@runtime_checkable
class TriesLongest(Protocol):
    """A pipeline that can run its graphs with the most tokens that its manifest allows."""

    def try_longest(self, run: Run) -> None:
        """Run them. Raises what `run` raises, and PredictionInvalid."""


def check_longest(pipeline: Pipeline, run: Run) -> list[Fault]:
    """A fault if the graphs fail on the longest text, or on the last token of the longest answer to it."""
    if not isinstance(pipeline, TriesLongest):
        return []
    try:
        pipeline.try_longest(run)
    except Exception as error:  # noqa: BLE001 - a runtime raises what it likes
        reason = (
            f"the model fails on a text, or an answer, of the most tokens that the manifest allows ({_first_line(error)}): "
            "lower max_tokens (and max_new_tokens) to what it was trained for, such as `max_position_embeddings` of its "
            "configuration"
        )
        return [Fault(f"{MANIFEST_NAME}: parameters.max_tokens", "longest_text_failed", reason)]
    return []


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
