"""Structural alerts: groups of atoms for which tasks of a manifest give no answer, since their training data mislead there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from models.manifest import MANIFEST_NAME, BundleRefused, Fault, ManifestTable, Text

if TYPE_CHECKING:
    from models.pipelines.molecules import Mol

CARBON_AND_HALOGENS: Final = frozenset(
    (1, 6, 9, 17, 35, 53, 85)
)  # atomic numbers; hydrogen belongs to neither


class StructuralAlert(ManifestTable):
    """A group of atoms as SMARTS, why a molecule with it has no answer, and where the list comes from."""

    smarts: Annotated[str, Field(min_length=1, max_length=1000)]
    reason: Text
    source: Text


class Alerts:
    """The alerts of a manifest, ready to be looked for. Raises BundleRefused where RDKit cannot read one."""

    def __init__(self, tables: Sequence[StructuralAlert]) -> None:
        from rdkit import Chem

        self._patterns = [(Chem.MolFromSmarts(table.smarts), table.reason) for table in tables]
        faults = [
            Fault(f"{MANIFEST_NAME}: parameters.alerts[{place}]", "smarts_unusable", "RDKit cannot read its `smarts`")
            for place, (pattern, _) in enumerate(self._patterns)
            if pattern is None
        ]  # fmt: skip
        if faults:
            raise BundleRefused(*faults)

    def reason(self, mol: Mol) -> str | None:
        """Why a parent has no answer: the first alert that it has; None without."""
        return next((reason for pattern, reason in self._patterns if mol.HasSubstructMatch(pattern)), None)


def rotatable_bonds(mol: Mol) -> int:
    """How many single bonds between heavy atoms turn freely, those of amides apart: RDKit's strict count (Veber 2002)."""
    from rdkit.Chem.rdMolDescriptors import CalcNumRotatableBonds

    return int(CalcNumRotatableBonds(mol))


def heteroatoms(mol: Mol) -> int:
    """How many atoms of a molecule are neither carbon, hydrogen nor halogens."""
    return sum(atom.GetAtomicNum() not in CARBON_AND_HALOGENS for atom in mol.GetAtoms())
