"""A catalogue of advice, read and judged independently of the product: plain dictionaries, and its own three-valued logic.

Also draws people: mostly of the conditions and near the bounds that the catalogue names.
"""

import random
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.drug_safety.coded_facts import says_pregnant
from models.drug_safety.codes import read_code

FOLDER = Path(__file__).parents[3] / "models" / "zoo" / "health-advice-recommender"
RANGES = {
    "systolic": (50, 300), "diastolic": (20, 200), "heart_rate": (20, 300), "oxygen_saturation": (40, 100),
    "temperature": (28, 44), "bmi": (9, 120), "glucose": (35, 2000), "ldl": (20, 1000), "potassium": (1, 12),
    "sodium": (95, 200), "egfr": (3, 200), "alcohol": (0, 7000), "activity": (0, 10080), "sleep": (0, 24),
}  # fmt: skip
USUAL = {"sodium": 140.0}  # of the fields whose usual values are not at a quarter of the highest
LISTS = ("symptoms", "medicines")

Person = dict[str, Any]


def catalogue(folder: Path = FOLDER) -> dict[str, Any]:
    """The file as TOML gives it."""
    return tomllib.loads((folder / "catalogue.toml").read_text())


def named_tests(written: Any) -> list[str]:
    """Every test that a rule, or anything that holds rules, names."""
    if isinstance(written, str):
        return [written]
    return [each for part in written for each in named_tests(part)]


class Reader:
    """Judges what a person may be shown."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.table = table
        self._prefixes = {
            name: [prefix.replace(".", "") for prefix in listed.get("icd10", ())]
            for name, listed in table["groups"].items()
        }
        self._excepted = {
            name: tuple(prefix.replace(".", "") for prefix in listed.get("except_icd10", ()))
            for name, listed in table["groups"].items()
        }

    def is_shown(self, item: dict[str, Any], person: Person) -> bool:
        """Whether the item fits for certain and nothing speaks against it; only `if_known` may speak in doubt."""
        if self.holds(item["when"], person) is not True:
            return False
        for flag in self.table["flags"]:
            if item["category"] in flag.get("withholds", ()) and self.holds(flag["when"], person):
                return False
        against = [
            (self.holds(each["when"], person), each.get("if_known", False)) for each in item.get("unless", ())
        ]
        return all(answer is False or (answer is None and lenient) for answer, lenient in against)

    def contradicted(self, item: dict[str, Any], person: Person) -> bool:
        """Whether a contraindication or a red flag holds for certain."""
        rules = [each["when"] for each in item.get("unless", ())]
        rules += [
            flag["when"] for flag in self.table["flags"] if item["category"] in flag.get("withholds", ())
        ]
        return any(self.holds(rule, person) for rule in rules)

    def holds(self, rule: Any, person: Person) -> bool | None:
        """All clauses; of each, any test."""
        worst: bool | None = True
        for clause in rule:
            found = [self._test(test, person) for test in ([clause] if isinstance(clause, str) else clause)]
            best = True if any(found) else (None if any(each is None for each in found) else False)
            if best is False:
                return False
            worst = None if best is None else worst
        return worst

    def _test(self, text: str, person: Person) -> bool | None:
        if " is " in text:
            name, wanted = text.split(" is ")
            if name in LISTS:
                return wanted in person.get(name, ())
            value = self._value(name, person)
            return None if value is None else str(value).lower() == wanted
        if " " in text:
            name, sign, bound = text.split(" ")
            value = self._value(name, person)
            if value is None:
                return None
            low, high, same = value < float(bound), value > float(bound), value == float(bound)
            return bool({"<": low, ">": high, "<=": low or same, ">=": high or same}[sign])
        return any(self._falls(code, text) for code in person.get("conditions", ()))

    def _value(self, name: str, person: Person) -> Any:
        value = person.get(name)
        unlikely = person.get("sex") == "male" or person["age"] < 10 or person["age"] > 60
        return False if name == "pregnant" and value is None and unlikely else value

    def _falls(self, code: str, group: str) -> bool:
        bare = code.replace(".", "").upper()
        if bare.isdigit():
            return bare in self.table["groups"][group].get("snomed", ())
        if len(bare) == 7 and bare[0] in "STVWXY" and bare[-1] == "S":
            return False  # a sequela
        begins = any(
            all(wanted in ("_", found) for wanted, found in zip(prefix, bare, strict=False))
            for prefix in self._prefixes[group]
            if len(prefix) <= len(bare)
        )
        return begins and not bare.startswith(self._excepted[group])


class People:
    """Draws people. `likely` are tests that are to be near."""

    def __init__(self, table: dict[str, Any], seed: int) -> None:
        self._chance = random.Random(seed)
        self._groups = table["groups"]
        rules = [each["when"] for each in (*table["items"], *table["flags"])]
        rules += [each["when"] for item in table["items"] for each in item.get("unless", ())]
        self._tests = named_tests(rules)

    def draw(self, likely: Sequence[str] = ()) -> Person:
        """One person, valid as an input."""
        chance = self._chance
        near = [*likely, *chance.sample(self._tests, 8)]
        person: Person = {
            "age": float(chance.choice([18, 19, 30, 45, 60, 64, 65, 70, 90, 12])),
            "conditions": [],
        }
        for field, (low, high) in RANGES.items():
            if chance.random() < 0.5:
                middle = USUAL.get(field, (low + high) / 4)
                usual = min(max(chance.gauss(middle, (high - low) / 12), low), high)
                person[field] = float(round(usual, 1))
        for test in near:
            self._bring_near(person, test)
        if chance.random() < 0.5:
            person.setdefault("sex", chance.choice(["female", "male"]))
        return self._made_valid(person)

    def _bring_near(self, person: Person, test: str) -> None:
        chance = self._chance
        if " is " in test:
            name, value = test.split(" is ")
            if name in LISTS:
                person[name] = sorted({*person.get(name, ()), value})
            else:
                person[name] = {"true": chance.random() < 0.8, "false": False}.get(value, value)
        elif " " in test:
            name, _, bound = test.split(" ")
            low, high = RANGES.get(name, (0, 120))
            person[name] = min(max(float(bound) + chance.choice([-1, -0.1, 0, 0.1, 1]), low), high)
        else:
            group = self._groups[test]
            code = chance.choice([*group.get("icd10", ()), *group.get("snomed", ())]).replace("_", "0")
            deeper = not code.isdigit() and len(code) == 3 and chance.random() < 0.5
            person["conditions"].append(f"{code}.9" if deeper else code)

    def _made_valid(self, person: Person) -> Person:
        if person.get("diastolic", 0) >= person.get("systolic", 999):
            del person[self._chance.choice(["systolic", "diastolic"])]
        if (person.get("pregnant") or person.get("breastfeeding")) and (
            person.get("sex") == "male" or not 10 <= person["age"] <= 60
        ):
            person["sex"], person["age"] = "female", 30.0
        if any(says_pregnant(read) for code in person["conditions"] if (read := read_code(code))):
            unlikely = person.get("sex") == "male" or not 10 <= person["age"] <= 60
            person |= {"sex": "female", "age": 30.0} if unlikely else {}
            person |= {"pregnant": True} if person.get("pregnant") is False else {}
        assert all(re.fullmatch(r"[A-Z0-9.]+", code) for code in person["conditions"])
        return person
