"""Molecules written as SMILES: read, checked, brought into one form and described by numbers, all with RDKit.

RDKit is the extra `chem`. It is imported when the first molecule is read, and its messages, which quote what it reads, are
switched off in the whole process.

The form of a molecule, its *parent*: hydrogen atoms implied, isotopes and atom numbers dropped, only the component with the
most heavy atoms kept, charges removed where a hydrogen atom that is gained or lost removes them (RDKit's Uncharger).
Tautomers stay as they are written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from models.field_codes import FieldCode
from models.lazy import np
from models.manifest import EXTRA_MISSING, MANIFEST_NAME, BundleRefused, Fault
from models.pipelines import molecule_salts
from models.pipelines.contract import FieldFault, InputRejected

if TYPE_CHECKING:
    from models.pipelines.contract import Array

Mol = Any  # of RDKit, which the API may lack

CARBON: Final = 6
# Metals that occur as counter-ions: their salts are scored by the organic part. A molecule with another metal is not.
COUNTER_METALS: Final = frozenset(("Li", "Na", "K", "Mg", "Ca"))
# Elements that the parent may have, beside those that a manifest allows: none. The usual ones of drugs and pesticides.
ELEMENTS: Final = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I")
METALLOIDS: Final = frozenset(("He", "Ne", "Ar", "Kr", "Xe", "Rn", "Ge", "As", "Sb", "Te", "At", *ELEMENTS))
MIXTURE_SHARE: Final = 0.5  # a further component of this share of the parent's heavy atoms makes a mixture
LARGEST: Final = 1e6  # of a descriptor: some, such as Ipc, grow exponentially with the atoms

NO_CARBON: Final = "inorganic: no component has a carbon atom"
METAL: Final = "it contains a metal other than Li, Na, K, Mg or Ca"
MIXTURE: Final = (
    "a mixture: another component is large, or neither water nor a usual counter-ion of drugs; "
    "send what is meant alone"
)
RADICAL: Final = "a radical: write the hydrogen atoms or the charge of the atom with an unpaired electron"
CARBOCATION: Final = "an ion with a charge at a carbon atom, as no molecule of the training data has"
NEUTRAL_ATOM: Final = (
    "a neutral atom of a metal or halogen beside what makes no salt with it: write ions with charges"
)
UNBALANCED: Final = "the charges do not balance: write every ion of the salt, with its charge"
NO_IDENTIFIER: Final = "InChI cannot express it"
# Of molecules that a neutral atom of a metal may be the salt of.
ACIDS: Final = ("C(=O)[OX2H1]", "[S,P](=O)[OX2H1]")
NITROXIDE: Final = "[OX1]N"  # stable radicals, as probes are
HALOGENS: Final = frozenset(("F", "Cl", "Br", "I"))
MACCS: Final = 167  # keys
ELEMENT: Final = "it contains an element that the model does not know"


@dataclass(frozen=True)
class Limits:
    """Most heavy atoms and most rings (bonds beyond those of a tree) of a whole input."""

    atoms: int
    rings: int


@dataclass(frozen=True)
class Parent:
    """A molecule in the form in which it is scored; see the module. `unfit` says why it must not be.

    `written_charges`: how many of its atoms had a positive and a negative charge before charges were removed.
    """

    mol: Mol
    smiles: str
    inchikey: str | None
    formula: str
    weight: float
    charge: int
    components: int
    written_charges: tuple[int, int]
    unfit: str | None


def version() -> str | None:
    """The version of RDKit that is installed; None without."""
    try:
        return package_version("rdkit")
    except PackageNotFoundError:
        return None


def installed() -> bool:
    """Whether RDKit can be imported."""
    return find_spec("rdkit") is not None


def require() -> None:
    """Raises BundleRefused without RDKit."""
    if not installed():
        reason = "RDKit is not installed here: `pip install 'medqueue[chem]'` where workers run, and where bundles are checked"
        raise BundleRefused(Fault(f"{MANIFEST_NAME}: pipeline", EXTRA_MISSING, reason))


def read(smiles: str, limits: Limits) -> Mol:
    """The molecule. Raises InputRejected, with the pointer of a field `smiles`."""
    chem = _chem()
    unchecked = chem.MolFromSmiles(smiles, _reading(sanitize=False))
    if unchecked is None or not unchecked.GetNumAtoms():
        raise _rejected(FieldCode.INVALID_SMILES, "It is not SMILES: compare it with a structure editor.")
    if any(atom.GetAtomicNum() == 0 for atom in unchecked.GetAtoms()):
        raise _rejected(FieldCode.INVALID_SMILES, "An asterisk stands for no atom: write the whole molecule.")
    if unchecked.GetNumHeavyAtoms() > limits.atoms:
        raise _rejected(FieldCode.TOO_LONG, f"A molecule may have at most {limits.atoms} heavy atoms.")
    components = len(chem.GetMolFrags(unchecked))
    if unchecked.GetNumBonds() - unchecked.GetNumAtoms() + components > limits.rings:
        raise _rejected(FieldCode.TOO_LONG, f"A molecule may have at most {limits.rings} rings.")
    mol = chem.MolFromSmiles(smiles, _reading(sanitize=True))
    if mol is None:
        reason = (
            "No such molecule exists: an atom has too many bonds, or an aromatic ring has no double bonds."
        )
        raise _rejected(FieldCode.INVALID_SMILES, reason)
    masses = chem.GetPeriodicTable()
    if any(
        atom.GetIsotope() and not masses.GetMassForIsotope(atom.GetAtomicNum(), atom.GetIsotope())
        for atom in mol.GetAtoms()
    ):
        reason = "An element has no isotope of the mass that is written before it: compare the number."
        raise _rejected(FieldCode.INVALID_SMILES, reason)
    aromatic = (bond for bond in mol.GetBonds() if bond.GetBondType() == chem.BondType.AROMATIC)
    if not all(bond.IsInRing() for bond in aromatic):
        raise _rejected(
            FieldCode.INVALID_SMILES, "An aromatic bond is in no ring: write it single or double."
        )
    return mol


def parent_of(mol: Mol, elements: Sequence[str] = ELEMENTS) -> Parent:
    """The form of a molecule in which it is scored."""
    chem = _chem()
    mol = chem.RWMol(mol)
    for atom in mol.GetAtoms():
        atom.SetIsotope(0)
        atom.SetAtomMapNum(0)
    plain = chem.RemoveHs(mol.GetMol())
    components = sorted(chem.GetMolFrags(plain, asMols=True), key=_size, reverse=True)
    largest = _uncharged(components[0])
    chem.AssignStereochemistry(largest, cleanIt=True, force=True)
    inchikey = chem.MolToInchiKey(largest) or None
    unfit = _unfit(plain, largest, components, elements)
    return Parent(
        mol=largest,
        smiles=chem.MolToSmiles(largest),
        inchikey=inchikey,
        formula=chem.rdMolDescriptors.CalcMolFormula(largest),
        weight=float(chem.rdMolDescriptors.CalcExactMolWt(largest)),
        charge=chem.GetFormalCharge(largest),
        components=len(components),
        written_charges=_charges(components[0]),
        unfit=unfit or (None if inchikey else NO_IDENTIFIER),
    )


def picture(mol: Mol) -> bytes:
    """A drawing as SVG."""
    from rdkit.Chem.Draw import rdMolDraw2D

    drawing = rdMolDraw2D.MolDraw2DSVG(400, 300)
    rdMolDraw2D.PrepareAndDrawMolecule(drawing, mol)
    drawing.FinishDrawing()
    return str(drawing.GetDrawingText()).encode()


class Features:
    """Numbers of a parent.

    Counts of the environments of its atoms (ECFP, Rogers and Hahn 2010); with `keys` the 167 MACCS keys (Durant et al. 2002);
    RDKit's descriptors by name; with `charges` its `written_charges`.
    """

    def __init__(
        self, radius: int, bits: int, descriptors: Sequence[str], *, keys: bool = False, charges: bool = False
    ) -> None:
        from rdkit.Chem import Descriptors, rdFingerprintGenerator

        _chem()
        self._keys, self._charges = keys, charges
        self._generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
        known = dict(Descriptors.descList)
        if unknown := [name for name in descriptors if name not in known]:
            reason = f"RDKit here has no descriptor {', '.join(unknown)}: install the version that metrics.json names"
            raise BundleRefused(Fault(f"{MANIFEST_NAME}: parameters.features", "descriptor_unknown", reason))
        self._descriptors = [known[name] for name in descriptors]

    def of(self, parent: Parent) -> Array:
        """float32 [F]; a descriptor that is not defined for this molecule is 0."""
        counts = self._generator.GetCountFingerprintAsNumPy(parent.mol)
        keys = list(_chem().rdMolDescriptors.GetMACCSKeysFingerprint(parent.mol)) if self._keys else []
        found = [float(each(parent.mol)) for each in self._descriptors]
        bounded = [max(-LARGEST, min(each, LARGEST)) if math.isfinite(each) else 0.0 for each in found]
        charges = parent.written_charges if self._charges else ()
        return np.concatenate([counts, keys, bounded, charges]).astype(np.float32)


def fingerprint(mol: Mol, bits: int) -> Array:
    """uint8 [bits / 8]: which environments of radius 2 a molecule has, eight to a byte."""
    _chem()
    return np.packbits(_fingerprints(bits).GetFingerprintAsNumPy(mol))


def similarity(one: Array, known: Array) -> Array:
    """Tanimoto coefficients float64 [n] of a fingerprint [b] with those of `known` [n, b]."""
    shared = np.bitwise_count(known & one).sum(axis=1, dtype=np.int64)
    either = np.bitwise_count(known | one).sum(axis=1, dtype=np.int64)
    found: Array = shared / np.maximum(either, 1)
    return found


def _unfit(plain: Mol, parent: Mol, components: Sequence[Mol], elements: Sequence[str]) -> str | None:
    """Why a molecule must not be scored."""
    symbols = {atom.GetSymbol() for atom in plain.GetAtoms()}
    if symbols - METALLOIDS - COUNTER_METALS:
        return METAL
    if not _has_carbon(parent):
        return NO_CARBON
    if {atom.GetSymbol() for atom in parent.GetAtoms()} - set(elements):
        return ELEMENT
    if strange := _strange_atoms(parent, components[1:]):
        return strange
    chem, same = _chem(), _chem().MolToSmiles(parent)
    named = [(chem.MolToSmiles(_uncharged(each)), each) for each in components[1:]]
    others = [(name, each) for name, each in named if name != same]  # several of the same may be to one ion
    organic = {name: each for name, each in others if _has_carbon(each)}
    most = MIXTURE_SHARE * parent.GetNumHeavyAtoms()
    if (
        len(organic) > 1
        or any(each.GetNumHeavyAtoms() >= most for each in organic.values())
        or not all(_is_counter_ion(each) for _, each in others)
    ):
        return MIXTURE
    counter = sum(chem.GetFormalCharge(each) for _, each in others)
    return UNBALANCED if counter and chem.GetFormalCharge(plain) else None


def _strange_atoms(parent: Mol, others: Sequence[Mol]) -> str | None:
    """Why a parent is no usual molecule, or one of the `others` beside it no ion, by single atoms.

    Salts that are written as neutral atoms stand in collections: [Na] beside an acid, [Cl] beside a molecule with nitrogen.
    """
    stable = {place for match in parent.GetSubstructMatches(_pattern(NITROXIDE)) for place in match}
    if any(atom.GetNumRadicalElectrons() and atom.GetIdx() not in stable for atom in parent.GetAtoms()):
        return RADICAL
    if any(atom.GetAtomicNum() == CARBON and atom.GetFormalCharge() > 0 for atom in parent.GetAtoms()):
        return CARBOCATION
    alone = [each.GetAtomWithIdx(0) for each in others if each.GetNumAtoms() == 1]
    neutral = {atom.GetSymbol() for atom in alone if not atom.GetFormalCharge() and not atom.GetTotalNumHs()}
    has_acid = any(parent.HasSubstructMatch(_pattern(acid)) for acid in ACIDS)
    if (neutral & COUNTER_METALS and not has_acid) or (
        neutral & HALOGENS and not parent.HasSubstructMatch(_pattern("[#7]"))
    ):
        return NEUTRAL_ATOM
    return None


def _is_counter_ion(mol: Mol) -> bool:
    """Whether a component is a metal that occurs as one, or listed in molecule_salts."""
    alone = mol.GetNumAtoms() == 1 and mol.GetAtomWithIdx(0).GetSymbol() in COUNTER_METALS
    return alone or molecule_salts.is_usual(mol, _uncharged)


def _uncharged(mol: Mol) -> Mol:
    return _uncharger().uncharge(mol)


def _size(mol: Mol) -> tuple[bool, int, float, str]:
    """By which the component that is kept is found: organic before others, then the largest; the rest breaks ties."""
    chem = _chem()
    weight = chem.rdMolDescriptors.CalcExactMolWt(mol)
    return _has_carbon(mol), mol.GetNumHeavyAtoms(), weight, chem.MolToSmiles(mol)


def _charges(mol: Mol) -> tuple[int, int]:
    charges = [atom.GetFormalCharge() for atom in mol.GetAtoms()]
    return sum(charge > 0 for charge in charges), sum(charge < 0 for charge in charges)


def _has_carbon(mol: Mol) -> bool:
    return any(atom.GetAtomicNum() == CARBON for atom in mol.GetAtoms())


def _rejected(code: FieldCode, detail: str) -> InputRejected:
    return InputRejected(FieldFault("/smiles", code, detail))


@cache
def _chem() -> Any:
    """RDKit, silent."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdMolDescriptors  # noqa: F401 - used as an attribute

    rdBase.DisableLog("rdApp.*")
    return Chem


@cache
def _reading(*, sanitize: bool) -> Any:
    """How SMILES is read: without a name or ChemAxon's extensions behind it."""
    found = _chem().SmilesParserParams()
    found.sanitize, found.allowCXSMILES, found.parseName = sanitize, False, False
    return found


@cache
def _pattern(smarts: str) -> Any:
    return _chem().MolFromSmarts(smarts)


@cache
def _uncharger() -> Any:
    _chem()
    from rdkit.Chem.MolStandardize import rdMolStandardize

    return rdMolStandardize.Uncharger()


@cache
def _fingerprints(bits: int) -> Any:
    from rdkit.Chem import rdFingerprintGenerator

    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=bits)
