"""Pipelines that take many rows at once: the additional methods that a batch uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from models.pipelines import FieldFault, InputRejected, TensorSpec

if TYPE_CHECKING:
    from models.pipelines import Array
    from models.pipelines.columns import CellFaults, NumberColumn, ResultColumn


@runtime_checkable
class FieldPipeline(Protocol):
    """A pipeline whose input is a set of named numbers, and which scores by one run."""

    @property
    def feeds(self) -> tuple[TensorSpec, ...]:
        """See SinglePass."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See SinglePass."""

    @property
    def fields(self) -> tuple[tuple[str, bool], ...]:
        """Name of each field, and whether it is required, in the order of the columns."""

    def unknown_fields(self, value: Mapping[object, object]) -> list[FieldFault]:
        """The faults that `encode` reports for keys of an input that are not fields."""

    def check_columns(
        self, columns: Sequence[NumberColumn], count: int
    ) -> tuple[dict[str, Array], CellFaults]:
        """The feeds of `count` rows, and their faults. The feeds of a faulty row are undefined."""

    def result_columns(self, outputs: Mapping[str, Array], count: int) -> tuple[ResultColumn, ...]:
        """Outputs -> the columns of `count` results. Raises PredictionInvalid."""

    def input_columns(self, feeds: Mapping[str, Array]) -> tuple[ResultColumn, ...]:
        """Feeds of rows without a fault -> further columns of their results, of what each input holds; often none."""


@runtime_checkable
class FilePipeline(Protocol):
    """A pipeline whose input is one file, and which scores by one run."""

    @property
    def feeds(self) -> tuple[TensorSpec, ...]:
        """See SinglePass."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See SinglePass."""

    def preprocess_files(self, contents: Sequence[bytes]) -> list[dict[str, Array] | InputRejected]:
        """The feeds of the first rows, as many as are read at once and at least one: each without its first axis, or why not.

        Called by several threads at once.
        """

    def finish_files(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Finish the stacked feeds of `preprocess_files`, in place."""

    def result_columns(self, outputs: Mapping[str, Array], count: int) -> tuple[ResultColumn, ...]:
        """Outputs -> the columns of `count` results. Raises PredictionInvalid."""
