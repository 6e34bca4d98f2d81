"""Which ingredients a name means: English and French names, brand names, products of several, codes.

A name that the tables do not have, and whose parts they do not have, means nothing: no name is guessed from a similar one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from models.drug_safety.chinese import drug_in_english
from models.drug_safety.findings import Reason, Unchecked
from models.drug_safety.near_names import NearNames
from models.drug_safety.orders import Order, names_in, read_order
from models.drug_safety.tables import Line, ReadFile, TableUnusable, read_table
from models.drug_safety.words import LONGEST, foreign, key, parts, rxnorm_alone, without_salts

INGREDIENTS = ("ingredient", "substances", "active", "aliases", "rxnorm", "source", "date")
CAUTION = "caution"  # of a name that is often misread
PRODUCTS = ("product", "ingredients", CAUTION, "source", "date")
ASSIGNED = ("class", "ingredients", "source", "date")
CODES = ("system", "code", "ingredients", "source", "date")
SUBSTANCES = ("substance", "rxnorm", "classes", "source", "date")
_RXNORM = "rxnorm:"
_BRACKETS = re.compile(r"\(([^()]*[^()\d][^()]*)\)")
_SHORTEST_FRENCH = 3  # letters: "or" is gold in French, and a conjunction in English


@dataclass(frozen=True, eq=False)
class Ingredient:
    """One active ingredient, or something without one, such as dextrose (`active` is then False).

    `terms` are the keys of the substances and classes that the interactions speak of. One that is not `listed` has no entry
    of its own: its terms are the classes that assigned_classes.csv gives it, or none.
    """

    name: str
    active: bool
    terms: frozenset[str]
    listed: bool


class Ingredients:
    """All that is known by name."""

    def __init__(
        self,
        ingredients: Iterable[Ingredient],
        names: dict[str, tuple[Ingredient, ...]],
        cautions: dict[str, str],
    ) -> None:
        self.all = tuple(ingredients)
        self._cautions = cautions
        self._names = names
        self.most_words = max(len(name.split(" ")) for name in names)
        self._exact: dict[str, tuple[Ingredient, ...]] = {
            name: found for name, found in names.items() if not name.startswith(_RXNORM)
        }

    @classmethod
    def read(cls, read: ReadFile, folder: str) -> Ingredients:
        """Read the tables of names and classes. Raises TableUnusable."""
        substances = read_table(read, f"{folder}/substances.csv", SUBSTANCES, ["substance"])
        lines = read_table(read, f"{folder}/ingredients.csv", INGREDIENTS, ["ingredient", "active"])
        products = read_table(read, f"{folder}/products.csv", PRODUCTS, ["product", "ingredients"], CAUTION)
        codes = read_table(read, f"{folder}/codes.csv", CODES, ["system", "code", "ingredients"])
        assigned = read_table(read, f"{folder}/assigned_classes.csv", ASSIGNED, ["class", "ingredients"])
        return _Reading(substances, assigned).ingredients(lines, products, codes)

    def named(self, name: str) -> tuple[Ingredient, ...]:
        """The ingredients of what has this name, in the order of the tables; () if it is not known.

        `name` may be a code of RxNorm ("161", "rxnorm:161", or behind its URI and a bar) or of codes.csv ("hicl:1866"), may end
        in salts that no table lists ("losartan potassium"), may list several drugs ("lisinopril/hydrochlorothiazide"), of which
        all must be known, and may be an order ("simvastatin 40 mg tab"), of which all must be understood.
        """
        if found := self._exact.get(name):
            return found
        if len(name) > LONGEST:
            return ()
        name = drug_in_english(rxnorm_alone(name))
        if not name.isascii() and foreign(name):
            return ()  # a word in another script may deny it
        if found := self._plain(name):
            return found
        order = self._order(name)
        return _distinct(self._names[each] for each in order.names) if order else ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The keys of all names, without codes."""
        return tuple(each for each in self._names if ":" not in each and not each.startswith("hicl "))

    def near(self, name: str) -> str:
        """What may be meant by a name that is not known: see NearNames.question; else the names that it has in it."""
        if (question := self._near.question(name)) or len(name) > LONGEST:
            return question
        found = names_in(drug_in_english(name), self._names.__contains__, self.most_words)
        return (
            f"; it names {' and '.join(found)} beside what is not understood: send names alone"
            if found
            else ""
        )

    @cached_property
    def _near(self) -> NearNames:
        return NearNames(self.names)

    def local(self, name: str) -> bool:
        """Whether the name is an order of a drug that is given locally, such as an ointment, drops for eyes, or an inhaler."""
        if name in self._exact or len(name) > LONGEST or self._plain(name):
            return False
        order = self._order(drug_in_english(name))
        return order is not None and order.local

    def disagreement(self, name: str) -> str:
        """What brackets in a name mean that the rest does not, as in "lisinopril (Lipitor)"; "" if they agree."""
        if "(" not in name or len(name) > LONGEST:
            return ""
        inside, outside = (
            {each for text in texts for each in self.named(text) if each.active}
            for texts in (_BRACKETS.findall(name), [_BRACKETS.sub(" ", name)])
        )
        if not inside or not outside or inside <= outside or outside <= inside:
            return ""
        return " and ".join(sorted(each.name for each in inside - outside))

    def cautions(self, name: str) -> dict[str, str]:
        """What is to be said of names in this one that are often misread, such as "MTX", by their keys."""
        if name in self._exact:
            return {name: self._cautions[name]} if name in self._cautions else {}
        if len(name) > LONGEST or not self.named(name):
            return {}
        name = drug_in_english(name)
        listed = [name, *(part for some in parts(name) for part in some)]
        if not self._plain(name) and (order := self._order(name)):
            listed = list(order.names)
        plain = [each for some in map(key, listed) for each in (some, *without_salts(some))]
        return {each: self._cautions[each] for each in plain if each in self._cautions}

    def exact(self, plain: str) -> tuple[Ingredient, ...]:
        """The ingredients of what has this key, with its salt, or this code behind its system; () if it is not known."""
        code = plain.removeprefix(_RXNORM.replace(":", " "))
        if code != plain and code.isdigit():
            return self._names.get(_RXNORM + code, ())
        return self._names.get(plain, ())

    def member(self, line: Line, name: str) -> Ingredient:
        """The one ingredient that a table's row names. Raises TableUnusable."""
        found = self._names.get(key(name), ())
        if len(found) != 1:
            raise line.refused(
                f"ingredients.csv has no ingredient {name!r}: add it there, or correct the name"
            )
        return found[0]

    def _plain(self, name: str) -> tuple[Ingredient, ...]:
        """The ingredients of a name without strength, form and the like."""
        return self.exact(key(name)) or self._several(name) or self._single(name)

    def _order(self, name: str) -> Order | None:
        return read_order(name, self._names.__contains__, self.most_words)

    def _single(self, name: str) -> tuple[Ingredient, ...]:
        plain = key(name)
        code = plain.removeprefix("rxnorm ")
        if code.isdigit():
            return self._names.get(_RXNORM + code, ())
        if found := self._names.get(plain):
            return found
        return next((self._names[each] for each in without_salts(plain) if each in self._names), ())

    def _several(self, name: str) -> tuple[Ingredient, ...]:
        for listed in parts(name):
            found = [self._single(part) for part in listed]
            if all(found):
                return _distinct(found)
        return ()


def _distinct(found: Iterable[tuple[Ingredient, ...]]) -> tuple[Ingredient, ...]:
    return tuple({id(each): each for some in found for each in some}.values())


def error_prone(subject: str, name: str, caution: str, known: Ingredients) -> Unchecked:
    """That `name`, which stands in `subject`, is often misread."""
    meant = " and ".join(each.name for each in known.named(name))
    detail = f"{name} was read as {meant}, but it is {caution}. Send the full name"
    return Unchecked(subject, None, Reason.ERROR_PRONE_NAME, detail)


class _Reading:
    """Reads ingredients against the substances of the interactions."""

    def __init__(self, substances: list[Line], assigned: list[Line]) -> None:
        self._substances: dict[str, Line] = {}
        for line in substances:
            if self._substances.setdefault(key(line["substance"]), line) is not line:
                raise line.refused("the substance is listed before: merge both rows")
        self._names: dict[str, tuple[Ingredient, ...]] = {}
        self._by_code: dict[str, list[Ingredient]] = {}
        self._codes: dict[str, tuple[Ingredient, ...]] = {}
        self._cautions: dict[str, str] = {}
        self._assigned: dict[str, dict[str, Line]] = {}  # by key of an ingredient, then of a class
        classes = {key(each) for line in substances for each in line.listed("classes")}
        for line in assigned:
            if key(line["class"]) not in classes:
                raise line.refused(f"substances.csv has no class {line['class']!r}")
            for name in line.listed("ingredients"):
                self._assigned.setdefault(key(name), {})[key(line["class"])] = line

    def ingredients(self, lines: list[Line], products: list[Line], codes: list[Line]) -> Ingredients:
        found = [self._ingredient(line) for line in lines]
        reached = {key(each) for line in lines for each in line.listed("substances")}
        if lost := [line for name, line in self._substances.items() if name not in reached]:
            path = lines[0].path
            raise TableUnusable(
                path, f"no ingredient names the substance {lost[0]['substance']!r}: add a row"
            )
        for unknown in self._assigned.keys() - {key(each.name) for each in found}:
            raise next(iter(self._assigned[unknown].values())).refused(
                f"ingredients.csv has no ingredient {unknown!r}"
            )
        for line in products:
            self._product(line, line["product"])
            if line[CAUTION]:
                self._cautions[key(line["product"])] = line[CAUTION]
        for line in codes:
            self._product(line, f"{line['system']}:{line['code']}")
        # A code that several ingredients share, as kinds of insulin do, means none of them unless a row claims it.
        shared = {_RXNORM + code: tuple(some) for code, some in self._by_code.items() if len(some) == 1}
        return Ingredients(found, {**self._names, **shared, **self._codes}, self._cautions)

    def _ingredient(self, line: Line) -> Ingredient:
        substances = [self._substance(line, each) for each in line.listed("substances")]
        if line["active"] not in {"yes", "no"}:
            raise line.refused("active must be yes or no")
        terms = {key(each["substance"]) for each in substances}
        terms.update(key(each) for substance in substances for each in substance.listed("classes"))
        terms.update(self._assigned.get(key(line["ingredient"]), ()))
        ingredient = Ingredient(
            line["ingredient"], line["active"] == "yes", frozenset(terms), bool(substances)
        )
        french = [each["substance"] for each in substances]
        for name in [line["ingredient"], *line.listed("aliases")]:
            self._name(line, name, (ingredient,))
        for name in french:
            if len(key(name)) >= _SHORTEST_FRENCH:
                self._names.setdefault(key(name), (ingredient,))
        for code in {each["rxnorm"] for each in substances if each["rxnorm"]}:
            self._by_code.setdefault(code, []).append(ingredient)
        for code in line.listed("rxnorm"):
            if not code.isdigit() or self._codes.setdefault(_RXNORM + code, (ingredient,)) != (ingredient,):
                raise line.refused(f"rxnorm {code!r} is no number, or another row claims it")
        return ingredient

    def _substance(self, line: Line, name: str) -> Line:
        if (found := self._substances.get(key(name))) is None:
            raise line.refused(f"substances.csv has no substance {name!r}")
        return found

    def _product(self, line: Line, product: str) -> None:
        found = []
        for name in line.listed("ingredients"):
            if (ingredient := self._names.get(key(name))) is None or len(ingredient) != 1:
                raise line.refused(f"ingredients.csv has no ingredient {name!r}")
            found.append(ingredient[0])
        self._name(line, product, tuple(found))

    def _name(self, line: Line, name: str, means: tuple[Ingredient, ...]) -> None:
        if not key(name):
            raise line.refused(f"{name!r} has no letters or digits")
        if self._names.setdefault(key(name), means) != means:
            raise line.refused(f"another row has the name {name!r}: a name means one thing")
