"""Interactions of labels that the French reference lacks, or takes less seriously."""

import csv

import pytest

from models.drug_safety import DrugSafety, Level, Patient, Reason, TableUnusable
from tests.unit.models.drug_tables import PACKAGE, bundled, changed

TABLE = "label_interactions.csv"


@pytest.mark.parametrize(
    "pair",
    [
        "sildenafil + nitroprusside", "avanafil + isosorbide mononitrate", "tadalafil + riociguat", "ritonavir + amiodarone",
        "cobicistat + amiodarone", "eletriptan + clarithromycin", "eletriptan + nelfinavir", "fluvoxamine + ramelteon",
        "fluvoxamine + tizanidine", "fluvoxamine + thioridazine", "fluvoxamine + alosetron", "ciprofloxacin + tizanidine",
        "omeprazole + rilpivirine", "omeprazole + nelfinavir", "lomitapide + fluconazole", "lomitapide + ketoconazole",
        "St. John's wort + atazanavir", "thioridazine + fluoxetine", "thioridazine + amiodarone", "triazolam + itraconazole",
        "midazolam + ketoconazole", "alprazolam + itraconazole", "ketorolac + probenecid", "ketorolac + pentoxifylline",
        "ketorolac + ibuprofen", "dofetilide + cimetidine", "dofetilide + Bactrim", "dofetilide + verapamil",
        "dofetilide + hydrochlorothiazide", "dofetilide + dolutegravir", "dofetilide + megestrol",
        "dofetilide + prochlorperazine",
        "simvastatin + gemfibrozil", "simvastatin + cyclosporine", "lovastatin + itraconazole", "ivabradine + clarithromycin",
        "ranolazine + rifampin", "colchicine + clarithromycin", "flibanserin + fluconazole", "pimozide + sertraline",
        "dihydroergotamine + ritonavir", "linezolid + sertraline", "phenelzine + meperidine", "methotrexate + trimethoprim",
        "ziprasidone + dofetilide", "voriconazole + sirolimus", "lurasidone + ketoconazole", "Paxlovid + simvastatin",
        "darunavir + simvastatin", "tipranavir + lovastatin", "fosamprenavir + sildenafil", "darunavir + ranolazine",
        "tipranavir + pimozide", "fosamprenavir + colchicine", "darunavir + midazolam", "tipranavir + triazolam",
        "darunavir + dronedarone", "tipranavir + lurasidone", "darunavir + ergotamine", "fosamprenavir + alfuzosin",
        "tipranavir + amiodarone", "darunavir + flecainide", "glecaprevir + rifampin", "grazoprevir + atazanavir",
        "elbasvir + atazanavir", "ozanimod + selegiline", "ozanimod + phenelzine", "ritonavir + clozapine",
        "selegiline + pseudoephedrine", "selegiline + carbamazepine", "mefloquine + ketoconazole",
    ],
)  # fmt: skip
def test_what_labels_contraindicate_is_removed_in_both_directions(pair: str) -> None:
    first, second = pair.split(" + ")
    for present, proposed in ((first, second), (second, first)):
        review = bundled().review(Patient(allergies=()), [present], [proposed])
        assert Level.CONTRAINDICATED in [each.level for each in review.removed], (present, proposed)


@pytest.mark.parametrize("drug", ["apixaban", "rivaroxaban", "dabigatran", "cyclosporine", "warfarin"])
def test_st_johns_wort_is_never_passed_over(drug: str) -> None:
    assert bundled().between("St. John's wort", drug)


def test_a_finding_of_a_label_is_english_and_claims_no_label() -> None:
    [found] = bundled().between("fluvoxamine", "ramelteon")
    assert (found.language, found.rule) == ("en", "fluvoxamine with ramelteon")
    assert "not checked by a pharmacist" in found.source
    with (PACKAGE / "tables" / TABLE).open(encoding="utf-8", newline="") as file:
        assert {"general knowledge" in row["source"] for row in csv.DictReader(file)} == {True}


def test_a_pair_that_the_reference_has_as_serious_has_no_second_finding() -> None:
    assert {each.language for each in bundled().between("itraconazole", "simvastatin")} == {"fr"}
    assert {each.language for each in bundled().between("linezolid", "sertraline")} == {"en", "fr"}


def test_a_drug_without_entry_says_that_rows_of_labels_were_checked() -> None:
    listed = bundled().review(Patient(), [], ["ramelteon"]).unchecked
    [told] = [each.detail for each in listed if each.reason is Reason.NO_ENTRY]
    assert told.endswith("only rows on labels were checked")


def test_a_bundle_from_before_the_table_is_read_without_it() -> None:
    def read(path: str) -> bytes:
        assert not path.endswith(TABLE)
        return (PACKAGE / path).read_bytes()

    assert DrugSafety.read(read, "tables", with_labels=False).between("fluvoxamine", "ramelteon") == ()


def test_a_row_on_a_drug_with_itself_is_refused() -> None:
    with pytest.raises(TableUnusable, match="tizanidine stands in first and in second"):
        changed(TABLE, "\nciprofloxacin,tizanidine,", "\ntizanidine,tizanidine,")


@pytest.mark.parametrize(
    ("pair", "level"),
    [
        ("warfarin + metronidazole", Level.PRECAUTION), ("citalopram + fluconazole", Level.PRECAUTION),
        ("linezolid + fentanyl", Level.NOT_RECOMMENDED), ("methylene blue + fentanyl", Level.NOT_RECOMMENDED),
        ("methylene blue + linezolid", Level.NOT_RECOMMENDED), ("imipenem + ganciclovir", Level.NOT_RECOMMENDED),
        ("ranolazine + diltiazem", Level.PRECAUTION), ("colchicine + diltiazem", Level.PRECAUTION),
        ("colchicine + verapamil", Level.NOT_RECOMMENDED), ("salmeterol + ritonavir", Level.NOT_RECOMMENDED),
        ("simvastatin + ticagrelor", Level.PRECAUTION), ("lovastatin + amiodarone", Level.PRECAUTION),
        ("adenosine + dipyridamole", Level.NOT_RECOMMENDED), ("morphine + lorazepam", Level.PRECAUTION),
        ("metoclopramide + haloperidol", Level.NOT_RECOMMENDED), ("warfarin + apixaban", Level.NOT_RECOMMENDED),
        ("riociguat + dipyridamole", Level.CONTRAINDICATED), ("eptifibatide + tirofiban", Level.CONTRAINDICATED),
        ("ceftriaxone + calcium gluconate", Level.PRECAUTION), ("tramadol + carbamazepine", Level.NOT_RECOMMENDED),
        ("mycophenolate mofetil + azathioprine", Level.NOT_RECOMMENDED), ("oritavancin + heparin", Level.CONTRAINDICATED),
        ("rasagiline + pseudoephedrine", Level.NOT_RECOMMENDED), ("rasagiline + carbamazepine", Level.NOT_RECOMMENDED),
        ("capecitabine + allopurinol", Level.NOT_RECOMMENDED), ("duloxetine + ciprofloxacin", Level.NOT_RECOMMENDED),
        ("rifampin + mycophenolate mofetil", Level.NOT_RECOMMENDED), ("ceftriaxone + lactated ringer's", Level.PRECAUTION),
    ],
)  # fmt: skip
def test_what_labels_warn_of_has_the_level_of_their_words(pair: str, level: Level) -> None:
    first, second = pair.split(" + ")
    for one, other in ((first, second), (second, first)):
        [finding, *_] = bundled().between(one, other)
        assert (finding.level, bool(finding.source)) == (level, True)
