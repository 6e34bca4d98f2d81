"""The common part of pipelines that score by one run of one graph, without side files and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from models.manifest import MODEL
from models.pipelines.contract import (
    Answer,
    Case,
    GraphSpec,
    Run,
    TensorSpec,
    no_options_schema,
    refuse_options,
    score_in_one_pass,
)
from models.pipelines.parts import Part

if TYPE_CHECKING:
    from models.pipelines.contract import Array


class OneGraphPipeline:
    """Both halves of such a pipeline; subclasses implement the input, `preprocess` and `postprocess`."""

    parts: Final[Mapping[str, Part]] = {}

    def __init__(self, feed: TensorSpec, outputs: tuple[TensorSpec, ...]) -> None:
        self.feeds: Final = (feed,)
        self.outputs: Final = outputs
        self.graphs: Final = {MODEL: GraphSpec(self.feeds, self.outputs)}

    def preprocess(self, payloads: Sequence[bytes]) -> dict[str, Array]:
        """See SinglePass."""
        raise NotImplementedError

    def postprocess(self, outputs: Mapping[str, Array], count: int) -> list[dict[str, object]]:
        """See SinglePass."""
        raise NotImplementedError

    def open(self, folder: Path) -> Self:  # noqa: ARG002 - it needs no file but the graph
        """See Pipeline: this pipeline is both halves."""
        return self

    def score(self, run: Run, cases: Sequence[Case]) -> list[Answer]:
        """One run of the graph; see Scoring."""
        return score_in_one_pass(self, run, cases)

    def options_schema(self) -> dict[str, object]:
        """See Pipeline: no options."""
        return no_options_schema()

    def check_options(self, value: object) -> dict[str, object]:
        """See Pipeline: any option is refused."""
        return refuse_options(value)
