"""Kernel ridge regression on features of molecules, in numpy and as an ONNX graph."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import onnx
from molecule_collections import DESCRIPTORS, Collection
from onnx import TensorProto, helper, numpy_helper

COUNTED = 2048 + 167  # fingerprint counts and MACCS keys
STEP = np.float32(4 / 127)  # of landmarks' descriptors, which are stored as int8
LEAST = np.float32(1e-6)
OPSET = 20


@dataclass
class Kernel:
    """The landmarks' `counts` uint8 [m,C], `described` int8 [m,D] and `charges` [m,2], and the `weights` [m,T] of an answer."""

    how: Collection
    columns: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    counts: np.ndarray
    described: np.ndarray
    charges: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    slopes: np.ndarray
    shifts: np.ndarray

    @classmethod
    def fitted(cls, features: np.ndarray, targets: np.ndarray, how: Collection, seed: int) -> Self:
        """Of features [n,F] and targets [n,T] with NaN where not measured."""
        columns = np.flatnonzero((features[:, :COUNTED] > 0).sum(0) >= how.fewest)
        logs = squashed(features[:, COUNTED : COUNTED + len(DESCRIPTORS)])
        mean, scale = logs.mean(0), logs.std(0) + np.float32(1e-3)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(features))[: how.landmarks])
        described = np.rint(np.clip((logs[chosen] - mean) / scale, -4, 4) / STEP).astype(np.int8)
        tasks = targets.shape[1]
        made = cls(
            how, columns, mean, scale, features[chosen][:, columns].clip(0, 255).astype(np.uint8), described,
            np.minimum(features[chosen, -2:], 2), np.zeros((len(chosen), tasks)), np.nanmean(targets, 0),
            np.ones(tasks), np.zeros(tasks),
        )  # fmt: skip
        whole = made.similarities(features).astype(np.float64)
        among = whole[chosen]
        for task in range(tasks):
            known = ~np.isnan(targets[:, task])
            wanted, part = targets[known, task] - made.offset[task], whole[known]
            if len(chosen) == len(features):
                places = np.flatnonzero(known)
                ridge = among[np.ix_(places, places)] + how.ridge * np.eye(len(places))
                made.weights[places, task] = np.linalg.solve(ridge, wanted)
            else:
                ridge = part.T @ part + how.ridge * among + 1e-4 * np.eye(len(chosen))
                made.weights[:, task] = np.linalg.solve(ridge, part.T @ wanted)
        return made

    def similarities(self, features: np.ndarray) -> np.ndarray:
        """The kernel [n,m] of features [n,F] with the landmarks."""
        counts = np.log1p(features[:, self.columns])
        logs = squashed(features[:, COUNTED : COUNTED + len(DESCRIPTORS)])
        described = np.clip((logs - self.mean) / self.scale, -4, 4)
        own = np.log1p(self.counts.astype(np.float32))
        shared = counts @ own.T
        tanimoto = shared / ((counts**2).sum(1)[:, None] + (own**2).sum(1)[None] - shared + LEAST)
        gaussian = np.exp(-self.how.gamma / len(DESCRIPTORS) * distances(described, self.described * STEP))
        if not self.how.charges:
            return tanimoto + gaussian
        return tanimoto + gaussian + np.exp(-distances(np.minimum(features[:, -2:], 2), self.charges))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Raw answers [n,T]."""
        return self.similarities(features) @ self.weights + self.offset

    def calibrate(self, task: int, slope: float, shift: float) -> None:
        """Set how a raw answer becomes log odds."""
        self.slopes[task], self.shifts[task] = slope, shift

    def answers(self, features: np.ndarray) -> np.ndarray:
        """Values, or calibrated probabilities [n,T]."""
        raw = self(features)
        return raw if self.how.regression else 1 / (1 + np.exp(-raw * self.slopes - self.shifts))


def squashed(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values))


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances [n,m]."""
    return np.maximum((one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T, 0)


class Builder:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, operator: str, *inputs: str | np.ndarray, **attributes: object) -> str:
        """Add a node; arrays become constants. Returns the name of its output."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        names = []
        for place, each in enumerate(inputs):
            names.append(each if isinstance(each, str) else f"{name}_{place}")
            if not isinstance(each, str):
                self.constants.append(numpy_helper.from_array(np.asarray(each), names[-1]))
        self.nodes.append(helper.make_node(operator, names, [name], name=name, **attributes))
        return name

    def counts(self, values: np.ndarray) -> str:
        """A matrix uint8 [a,b] as float32. The file holds what is not 0, and how far each is from the one before."""
        places = np.flatnonzero(values)
        stops = [np.arange(start, end, 255)[1:] for start, end in pairwise([0, *places.tolist()])]
        held = np.union1d(places, np.concatenate(stops))  # no further apart than a byte holds
        gaps = np.diff(held, prepend=0).astype(np.uint8)
        at = self("CumSum", self("Cast", gaps, to=TensorProto.INT64), np.int64(0))
        told = self("Cast", values.ravel()[held], to=TensorProto.FLOAT)
        whole = self("ConstantOfShape", np.array([values.size], np.int64))
        return self(
            "Reshape", self("ScatterElements", whole, at, told, axis=0), np.array(values.shape, np.int64)
        )

    def squares(self, rows: str) -> str:
        """Sums of squares [n,1]."""
        return self("ReduceSumSquare", rows, np.array([1], np.int64), keepdims=1)

    def gaussian(self, rows: str, own: np.ndarray | str, squares: np.ndarray, gamma: float) -> str:
        """exp(-gamma |row - own|^2) [n,m]; `own` is [d,m]."""
        sums = self("Add", self.squares(rows), squares.astype(np.float32))
        apart = self("Sub", sums, self("Mul", self("MatMul", rows, own), np.float32(2)))
        return self("Exp", self("Mul", self("Relu", apart), np.float32(-gamma)))


def graph_of(kernels: list[Kernel], width: int) -> onnx.ModelProto:
    """`features` float32 [N,width] to `values` float32 [N,T]."""
    add = Builder()
    found = [_answers(add, kernel) for kernel in kernels]
    add.nodes.append(helper.make_node("Concat", found, ["values"], axis=1))
    tasks = sum(len(kernel.offset) for kernel in kernels)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size])
        for name, size in (("features", width), ("values", tasks))
    ]
    graph = helper.make_graph(add.nodes, "molecules", ends[:1], ends[1:], add.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _answers(add: Builder, kernel: Kernel) -> str:
    one = np.float32(1)
    counts = add("Log", add("Add", add("Gather", "features", kernel.columns, axis=1), one))
    places = np.arange(COUNTED, COUNTED + len(DESCRIPTORS))
    raw = add("Gather", "features", places, axis=1)
    logs = add("Mul", add("Sign", raw), add("Log", add("Add", add("Abs", raw), one)))
    scaled = add("Div", add("Sub", logs, kernel.mean.astype(np.float32)), kernel.scale.astype(np.float32))
    described = add("Clip", scaled, np.float32(-4), np.float32(4))
    own = np.log1p(kernel.counts.astype(np.float32))
    landmarks = add("Log", add("Add", add.counts(kernel.counts.T), one))
    shared = add("MatMul", counts, landmarks)
    either = add("Sub", add("Add", add.squares(counts), (own**2).sum(1)[None]), shared)
    tanimoto = add("Div", shared, add("Add", either, LEAST))
    steps = add("Mul", add("Cast", kernel.described.T.copy(), to=TensorProto.FLOAT), STEP)
    squares = ((kernel.described * STEP) ** 2).sum(1)[None]
    total = add("Add", tanimoto, add.gaussian(described, steps, squares, kernel.how.gamma / len(DESCRIPTORS)))
    if kernel.how.charges:
        end = COUNTED + len(DESCRIPTORS)
        written = add("Min", add("Gather", "features", np.array([end, end + 1]), axis=1), np.float32(2))
        charges = kernel.charges.astype(np.float32)
        total = add("Add", total, add.gaussian(written, charges.T.copy(), (charges**2).sum(1)[None], 1.0))
    raw_answers = add(
        "Add", add("MatMul", total, kernel.weights.astype(np.float32)), kernel.offset.astype(np.float32)
    )
    if kernel.how.regression:
        return raw_answers
    odds = add(
        "Add", add("Mul", raw_answers, kernel.slopes.astype(np.float32)), kernel.shifts.astype(np.float32)
    )
    return add("Sigmoid", odds)
