"""Train splice-junction and write everything of its bundle that comes from the data.

Source: Noordewier, Towell, Shavlik (1991), Molecular Biology (Splice-junction Gene Sequences), UCI Machine Learning
Repository, doi:10.24432/C5M888, CC BY 4.0: 60 bases of primate DNA around a place that may be a splice junction.
`--data` names a folder with `train.csv` (columns class, gene, name, sequence).

    python -m venv /tmp/train && /tmp/train/bin/pip install torch==2.13.0 scikit-learn onnx onnxscript
    /tmp/train/bin/python models/zoo/splice-junction/train.py --data DIR
    .venv/bin/python -m models seal --golden models/zoo/splice-junction

Writes model.onnx, metrics.json, manifest.toml (without digests) and the inputs of golden.json; seal fills in expected
results and digests. About three minutes on one core; seeds fixed.

Genes stay whole: each is in one of five folds. The shipped model is the mean, in logits, of five networks, each trained
without one fold; every figure is of the network that did not see the row's gene.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix, f1_score
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HERE = Path(__file__).resolve().parent
SEED = 20261128
FOLDS = 5
EPOCHS = 14
BATCH = 64
LENGTH = 60
LETTERS = "ACGT"
# What the letters of the source stand for that are no base: IUPAC-IUB codes.
CODES = {"R": "AG", "S": "CG", "D": "AGT", "N": "ACGT"}
CLASSES = {"EI": "donor", "IE": "acceptor", "N": "neither"}
MUTATED = 0.05  # share of bases that are drawn anew in each batch
FALSE_ALARMS = 0.01  # of the novelty's limit, on genes kept apart
FOREIGN = 2000
AT_SHARE = 0.806  # of Plasmodium falciparum: Gardner et al., Nature 419:498 (2002)
RESAMPLES = 2000

MANIFEST = Template("""\
# Written by train.py; [files] by `python -m models seal`. Change those, not this file.
name = "splice-junction"
version = "1.0.0"
kind = "diagnosis"
pipeline = "sequence-classification"
title = "Splice junction in 60 bases of DNA: donor, acceptor or neither"
summary = "Whether the middle of 60 bases of primate DNA is where an intron begins, where one ends, or neither."
license = "CC-BY-4.0"

[runtime]
max_batch = 256
run_timeout_s = 30.0
promised_s = 60.0
tolerance = 1e-5

[metrics]
$metrics

[files]

[parameters]
output = "probabilities"
alphabet = "dna"
letters = "ACGT"
shortest = 60
longest = 60
ambiguous = 0.1
title = "DNA of the coding strand, 30 bases on either side of the place in question"
example = "$example"

[parameters.abstain]
lower = 0.0
upper = $least
reason = "no class is likely enough"

[parameters.novelty]
limit = $limit
false_alarm_rate = $false_alarms
catch_rate = $caught
foreign_set = "$foreign"
source = "genes that the scoring network was not trained on"
reason = "unlike the genes of primates that the model was trained on"

[[parameters.labels]]
id = "donor"
display = "Donor site: an exon ends and an intron begins"
system = "http://www.sequenceontology.org"
code = "SO:0000163"

[[parameters.labels]]
id = "acceptor"
display = "Acceptor site: an intron ends and an exon begins"
system = "http://www.sequenceontology.org"
code = "SO:0000164"

[[parameters.labels]]
id = "neither"
display = "No splice junction"
""")
FOREIGN_SET = (
    "half random DNA of 81 % A and T, as of Plasmodium falciparum, half tandem repeats of 1 to 6 bases"
)


@dataclass(frozen=True)
class Rows:
    """Shares of letters float32 [n,60,4], classes [n], genes and letters as they came."""

    shares: Tensor
    classes: Tensor
    genes: list[str]
    letters: list[str]

    def __len__(self) -> int:
        return len(self.letters)

    @property
    def truth(self) -> Ints:
        return self.classes.numpy()


def read_rows(folder: Path) -> Rows:
    with (folder / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    letters = [row["sequence"] for row in rows]
    classes = [list(CLASSES).index(row["class"]) for row in rows]
    return Rows(shares_of(letters), torch.tensor(classes), [row["gene"] for row in rows], letters)


def shares_of(sequences: list[str]) -> Tensor:
    """float32 [n,60,4]: as the pipeline feeds them."""
    shares = np.zeros((len(sequences), LENGTH, len(LETTERS)), np.float32)
    for row, sequence in enumerate(sequences):
        for place, letter in enumerate(sequence):
            several = CODES.get(letter, letter)
            shares[row, place, [LETTERS.index(each) for each in several]] = 1 / len(several)
    return torch.from_numpy(shares)


class Network(nn.Module):
    """Shares [n,60,4] to logits [n,3]: motifs wherever they are, and each base where it is."""

    def __init__(self, width: int = 48, dropout: float = 0.3) -> None:
        super().__init__()
        self.motifs = nn.Sequential(
            nn.Conv1d(4, width, 7, padding=3), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU(),
            nn.MaxPool1d(4), nn.Flatten(),
        )  # fmt: skip
        self.places = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * LENGTH, 64), nn.ReLU())
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width * LENGTH // 4 + 64, 64), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(64, len(CLASSES)),
        )  # fmt: skip

    def forward(self, shares: Tensor) -> Tensor:
        seen = torch.cat([self.motifs(shares.transpose(1, 2)), self.places(shares)], 1)
        logits: Tensor = self.head(seen)
        return logits


def fit(rows: Rows, keep: NDArray[np.bool_], seed: int) -> Network:
    """A network of the rows to keep."""
    torch.manual_seed(seed)
    shares, classes = rows.shares[torch.from_numpy(keep)], rows.classes[torch.from_numpy(keep)]
    network = Network()
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    steps = EPOCHS * -(-len(shares) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for batch in batches(len(shares)):
        loss = F.cross_entropy(network(mutated(shares[batch])), classes[batch], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
        schedule.step()
    return network.eval()


def batches(count: int) -> Iterator[Tensor]:
    for _ in range(EPOCHS):
        yield from torch.randperm(count).split(BATCH)


def mutated(shares: Tensor) -> Tensor:
    """A copy with some bases drawn again."""
    chosen = torch.rand(shares.shape[:2]) < MUTATED
    drawn = shares.clone()
    drawn[chosen] = torch.eye(len(LETTERS))[torch.randint(len(LETTERS), (int(chosen.sum()),))]
    return drawn


class Triplets(nn.Module):
    """How often each of the 64 triplets is in a sequence: [n,60,4] -> [n,64]."""

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        kernels = np.zeros((64, len(LETTERS), 3), np.float32)
        for number, word in enumerate(np.ndindex(4, 4, 4)):
            kernels[number, word, [0, 1, 2]] = 1
        self.register_buffer("kernels", torch.from_numpy(kernels))

    def forward(self, shares: Tensor) -> Tensor:
        return F.relu(F.conv1d(shares.transpose(1, 2), self.kernels) - 2).mean(2)


class Novelty(nn.Module):
    """How far the triplets of a sequence are from those of known genes: Mahalanobis distance, [n,60,4] -> [n,1]."""

    mean: Tensor
    whitening: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.triplets = Triplets()
        known = self.triplets(rows).double().numpy()
        covariance = np.cov(known.T)
        shrunk = 0.9 * covariance + 0.1 * np.eye(64) * covariance.trace() / 64
        self.register_buffer("mean", torch.from_numpy(known.mean(0)).float())
        self.register_buffer("whitening", torch.from_numpy(np.linalg.cholesky(np.linalg.inv(shrunk))).float())

    def forward(self, shares: Tensor) -> Tensor:
        centred = self.triplets(shares) - self.mean
        return (centred @ self.whitening).pow(2).sum(1, keepdim=True).sqrt()


class Ensemble(nn.Module):
    """What is exported: the members' mean logits at a temperature, and the novelty."""

    def __init__(self, members: list[Network], temperature: float, novelty: Novelty) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.temperature = temperature
        self.novelty = novelty

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.stack([member(sequence) for member in self.members]).mean(0)
        return torch.softmax(logits / self.temperature, 1), self.novelty(sequence)


def gene_folds(rows: Rows) -> Ints:
    """Fold number of each row; a gene is in one fold."""
    folds = np.zeros(len(rows), np.int64)
    cut = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    for number, (_, held_out) in enumerate(cut.split(folds, rows.truth, rows.genes)):
        folds[held_out] = number
    return folds


@torch.no_grad()
def held_out_logits(members: list[Network], rows: Rows, folds: Ints) -> Tensor:
    """Logits [n,3], each by the network that did not see the row's gene."""
    logits = torch.empty(len(rows), len(CLASSES))
    for fold, member in enumerate(members):
        logits[folds == fold] = member(rows.shares[folds == fold])
    return logits


def best_temperature(logits: Tensor, classes: Tensor) -> float:
    """The temperature of the least cross-entropy, in hundredths."""
    steps = np.arange(0.3, 3.0, 0.01)
    losses = [float(F.cross_entropy(logits / step, classes)) for step in steps]
    return round(float(steps[int(np.argmin(losses))]), 2)


def calibration_error(probabilities: Floats, truth: Ints) -> float:
    """Expected calibration error of the most likely class, ten bins of equal width (Guo et al. 2017)."""
    chosen, right = probabilities.max(1), probabilities.argmax(1) == truth
    bins = np.minimum((chosen * 10).astype(int), 9)
    gaps = [abs(right[bins == b].mean() - chosen[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    return float(sum(gaps))


def interval(right: NDArray[np.bool_], genes: list[str]) -> tuple[float, float]:
    """95 % interval of an accuracy by resampling genes."""
    numbers = np.unique(genes, return_inverse=True)[1]
    hits, sizes = np.bincount(numbers, right), np.bincount(numbers)
    chance = np.random.default_rng(SEED)
    drawn = chance.integers(0, len(sizes), (RESAMPLES, len(sizes)))
    low, high = np.percentile(hits[drawn].sum(1) / sizes[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)


def foreign_sequences() -> list[str]:
    """See FOREIGN_SET."""
    chance = np.random.default_rng(SEED)
    shares = [AT_SHARE / 2, (1 - AT_SHARE) / 2, (1 - AT_SHARE) / 2, AT_SHARE / 2]
    drawn = ["".join(chance.choice(list(LETTERS), LENGTH, p=shares)) for _ in range(FOREIGN // 2)]
    units = ["".join(chance.choice(list(LETTERS), chance.integers(1, 7))) for _ in range(FOREIGN // 2)]
    return drawn + [(unit * LENGTH)[:LENGTH] for unit in units]


@torch.no_grad()
def held_out_novelty(rows: Rows, folds: Ints) -> Floats:
    """Novelty of each row, to a detector that did not see its gene."""
    found = np.zeros(len(rows))
    for fold in range(FOLDS):
        detector = Novelty(rows.shares[folds != fold])
        found[folds == fold] = detector(rows.shares[folds == fold])[:, 0].numpy()
    return found


def forest_accuracy(rows: Rows, folds: Ints) -> float:
    """The baseline: a random forest of 400 trees on the same bases and folds."""
    table, right = rows.shares.flatten(1).numpy(), np.zeros(len(rows), np.bool_)
    for fold in range(FOLDS):
        kept = folds != fold
        forest = RandomForestClassifier(400, max_features=40, random_state=SEED).fit(
            table[kept], rows.truth[kept]
        )
        right[~kept] = forest.predict(table[~kept]) == rows.truth[~kept]
    return float(right.mean())


def least_probability(probabilities: Floats, truth: Ints) -> float:
    """The grey zone: the least probability, in hundredths, from which answers are right more often than not."""
    chosen, right = probabilities.max(1), probabilities.argmax(1) == truth
    for step in range(34, 100):
        near = (chosen >= step / 100 - 0.05) & (chosen < step / 100 + 0.05)
        if near.sum() >= 5 and right[near].mean() >= 0.6:
            return step / 100
    return 0.5


def figures(
    rows: Rows, folds: Ints, probabilities: Floats, novelty: Floats, detector: Novelty
) -> dict[str, object]:
    """What metrics.json states."""
    truth, answered = rows.truth, probabilities.argmax(1)
    low, high = interval(answered == truth, rows.genes)
    limit = round(float(np.quantile(novelty, 1 - FALSE_ALARMS)), 3)
    with torch.no_grad():
        foreign = detector(shares_of(foreign_sequences()))[:, 0].numpy()
    least = least_probability(probabilities, truth)
    one_hot = np.eye(len(CLASSES))[truth]
    table = confusion_matrix(truth, answered)
    names = list(CLASSES.values())
    known = novelty < limit
    clear = known & (probabilities.max(1) >= least)
    return {
        "rows": len(rows),
        "genes": len(set(rows.genes)),
        "accuracy": (answered == truth).mean(),
        "accuracy_95": [low, high],
        "accuracy_forest": forest_accuracy(rows, folds),
        "macro_f1": f1_score(truth, answered, average="macro"),
        "sensitivity": dict(zip(names, table.diagonal() / table.sum(1), strict=True)),
        "ppv": dict(zip(names, table.diagonal() / table.sum(0), strict=True)),
        "brier": ((probabilities - one_hot) ** 2).sum(1).mean(),
        "ece": calibration_error(probabilities, truth),
        "least_probability": least,
        "novelty_limit": limit,
        "false_alarm_rate": (~known).mean(),
        "catch_rate": (foreign >= limit).mean(),
        "catch_rate_at_rich": (foreign[: FOREIGN // 2] >= limit).mean(),
        "catch_rate_repeats": (foreign[FOREIGN // 2 :] >= limit).mean(),
        "abstained": (~clear).mean(),
        "accuracy_answered": (answered == truth)[clear].mean(),
    }


def rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return value if isinstance(value, int | str) else round(float(value), 4)  # type: ignore[arg-type]  # a number of numpy


def export(model: Ensemble, example: Tensor) -> None:
    """model.onnx, compared with torch."""
    path = HERE / "model.onnx"
    rows = torch.export.Dim("rows", min=1)
    program = torch.onnx.export(
        model.eval(), (example,), input_names=["sequence"], output_names=["probabilities", "novelty"],
        dynamic_shapes=({0: rows},), dynamo=True, opset_version=20, verbose=False,
    )  # fmt: skip
    assert program is not None
    program.optimize()
    onnx.save(without_traces(program.model_proto), str(path))


def without_traces(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph without what the exporter notes of where it ran, such as the paths of this file."""
    del graph.metadata_props[:], graph.graph.metadata_props[:], graph.graph.value_info[:]
    for part in (
        *graph.graph.node,
        *graph.graph.input,
        *graph.graph.output,
        *graph.graph.initializer,
        *graph.functions,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    return graph


def check_parity(model: Ensemble, shares: Tensor) -> float:
    """The largest difference between torch and ONNX Runtime. Raises AssertionError where it matters."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    given = session.run(["probabilities", "novelty"], {"sequence": shares.numpy()})
    with torch.no_grad():
        wanted = model(shares)
    gap = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(given, wanted, strict=True))
    assert gap < 1e-3, gap
    return gap


def write_manifest(report: dict[str, object]) -> None:
    flat: dict[str, object] = {}
    for name, figure in report.items():
        if isinstance(figure, dict):
            flat |= {f"{name}_{key}": each for key, each in figure.items()}
        elif isinstance(figure, list):
            flat |= {f"{name}_low": figure[0], f"{name}_high": figure[1]}
        else:
            flat[name] = figure
    protocol = "5-fold cross-validation by gene, each row scored by a network that did not see its gene"
    metrics = "\n".join(
        f"{name} = {json.dumps(figure)}" for name, figure in {**flat, "protocol": protocol}.items()
    )
    (HERE / "manifest.toml").write_text(
        MANIFEST.substitute(
            metrics=metrics, example=example_sequences()[0][1], least=report["least_probability"],
            limit=report["novelty_limit"], false_alarms=report["false_alarm_rate"], caught=report["catch_rate"],
            foreign=FOREIGN_SET,
        )
    )  # fmt: skip


def example_sequences() -> list[tuple[str, str]]:
    """(note, sequence) of the golden cases, made up here: what the consensus of junctions looks like, and what is none."""
    chance = np.random.default_rng(SEED + 1)
    exon = "".join(chance.choice(list(LETTERS), 30))
    intron = "".join(chance.choice(list(LETTERS), 24))
    donor = exon[:27] + "CAG" + "GTAAGT" + intron
    acceptor = intron[:15] + "TTTCTTTTCCCTCAG"[-15:] + "G" + exon[:29]
    return [
        ("consensus of a donor site", donor),
        ("consensus of an acceptor site", acceptor),
        ("neither", exon + exon[::-1]),
        ("an unread base", donor[:3] + "N" + donor[4:]),
        ("small letters", acceptor.lower()),
        ("the same donor one base off", exon[:1] + donor[:-1]),
        ("its other strand, read backwards", donor[::-1].translate(str.maketrans("ACGT", "TGCA"))),
        ("a repeat, from which it abstains", ("CA" * LENGTH)[:LENGTH]),
    ]


def write_golden() -> None:
    cases = [
        {"note": note, "input": {"sequence": letters}, "expected": {}}
        for note, letters in example_sequences()
    ]
    (HERE / "golden.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    rows = read_rows(parser.parse_args().data)
    folds = gene_folds(rows)
    members = []
    for fold in range(FOLDS):
        members.append(fit(rows, folds != fold, SEED + fold))
        print(f"trained without fold {fold + 1} of {FOLDS}", flush=True)
    logits = held_out_logits(members, rows, folds)
    temperature = best_temperature(logits, rows.classes)
    probabilities = torch.softmax(logits / temperature, 1).double().numpy()
    detector = Novelty(rows.shares)
    model = Ensemble(members, temperature, detector)
    report = figures(rows, folds, probabilities, held_out_novelty(rows, folds), detector)
    export(model, rows.shares[:4])
    report |= {"temperature": temperature, "parity": check_parity(model, rows.shares[:500])}
    found = {key: rounded(value) for key, value in report.items()}
    (HERE / "metrics.json").write_text(
        json.dumps({**found, "seed": SEED, "torch": torch.__version__}, indent=1) + "\n"
    )
    write_manifest(found)
    write_golden()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
