"""Train splice-junction.

Source: Noordewier, Towell, Shavlik (1991), Molecular Biology (Splice-junction Gene Sequences), UCI Machine Learning
Repository, doi:10.24432/C5M888, CC BY 4.0: 60 bases of primate DNA around a place that may be a splice junction. The
folder of the data holds `train.csv` (columns class, gene, name, sequence). About three minutes on one core; seeds fixed.

Genes stay whole: each is in one of five folds. The shipped model is the mean, in logits, of five networks, each trained
without one fold; every figure is of the network that did not see the row's gene.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's usual name

from models.training.calibration import least_probability, softmax, temperature
from models.training.export import export, parity
from models.training.figures import brier, by_class, calibration_error, interval
from models.training.novelty import Mahalanobis, novelty_figures
from models.training.writing import write_golden, write_report

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

PROTOCOL = "5-fold cross-validation by gene, each row scored by a network that did not see its gene"
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
    """How far the triplets of a sequence are from those of known genes: [n,60,4] -> [n,1]."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.triplets = Triplets()
        self.distance = Mahalanobis(self.triplets(rows).double().numpy())

    def forward(self, shares: Tensor) -> Tensor:
        distances: Tensor = self.distance(self.triplets(shares))
        return distances


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


def figures(
    rows: Rows, folds: Ints, probabilities: Floats, novelty: Floats, foreign: Floats
) -> dict[str, object]:
    """What metrics.json states; `novelty` and `foreign` are of rows kept apart and of the foreign set."""
    truth, answered = rows.truth, probabilities.argmax(1)
    right = answered == truth
    detector = novelty_figures(novelty, foreign, FALSE_ALARMS)
    least = least_probability(probabilities, truth)
    known = novelty < detector["novelty_limit"]
    clear = known & (probabilities.max(1) >= least)
    return {
        "rows": len(rows),
        "genes": len(set(rows.genes)),
        "accuracy": right.mean(),
        "accuracy_95": interval(lambda drawn: float(right[drawn].mean()), rows.genes, seed=SEED),
        "accuracy_forest": forest_accuracy(rows, folds),
        "macro_f1": f1_score(truth, answered, average="macro"),
        **by_class(answered, truth, list(CLASSES.values())),
        "brier": brier(probabilities, truth),
        "ece": calibration_error(probabilities, truth),
        "least_probability": least,
        **detector,
        "catch_rate_at_rich": (foreign[: FOREIGN // 2] >= detector["novelty_limit"]).mean(),
        "catch_rate_repeats": (foreign[FOREIGN // 2 :] >= detector["novelty_limit"]).mean(),
        "abstained": (~clear).mean(),
        "accuracy_answered": right[clear].mean(),
        "protocol": PROTOCOL,
    }


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
        ("unread bases at the junction, from which it abstains", donor[:28] + "NNNN" + donor[32:]),
        ("small letters", acceptor.lower()),
        ("the same donor one base off", exon[:1] + donor[:-1]),
        ("its other strand, read backwards", donor[::-1].translate(str.maketrans("ACGT", "TGCA"))),
        ("a repeat, from which it abstains", ("CA" * LENGTH)[:LENGTH]),
    ]


def train(data: Path) -> None:
    rows = read_rows(data)
    folds = gene_folds(rows)
    members = []
    for fold in range(FOLDS):
        members.append(fit(rows, folds != fold, SEED + fold))
        print(f"trained without fold {fold + 1} of {FOLDS}", flush=True)
    logits = held_out_logits(members, rows, folds).double().numpy()
    warmth = temperature(logits, rows.truth)
    detector = Novelty(rows.shares)
    with torch.no_grad():
        foreign = detector(shares_of(foreign_sequences()))[:, 0].numpy()
    report = figures(rows, folds, softmax(logits / warmth), held_out_novelty(rows, folds), foreign)
    model = Ensemble(members, warmth, detector)
    path, checked = HERE / "model.onnx", rows.shares[:500]
    export(model, (rows.shares[:4],), path, inputs=["sequence"], outputs=["probabilities", "novelty"])
    with torch.no_grad():
        probabilities, novelty = model(checked)
    wanted = {"probabilities": probabilities.numpy(), "novelty": novelty.numpy()}
    report |= {"temperature": warmth, "parity": parity(path, {"sequence": checked.numpy()}, wanted)}
    report |= {"seed": SEED, "torch": torch.__version__}
    write_report(HERE, report, example=example_sequences()[0][1], foreign_set=FOREIGN_SET)
    write_golden(HERE, [(note, {"sequence": letters}) for note, letters in example_sequences()])
