"""What orders write around the name of a drug: strengths, forms, containers, routes, frequencies. A closed vocabulary.

A word that may also name an ingredient of a product ("Motrin PM", "Robitussin AC", "Claritin D") is not among them, or counts
behind a strength alone, as "HS" does. Written from general knowledge of how orders are written.
"""

from __future__ import annotations

import re
from typing import Final

from models.drug_safety.words import FORMS

_UNITS: Final = """
    mg mgs milligram milligrams mcg mcgs microgram micrograms ug g gm gms gram grams kg meq meqs mmol mmols mmole mmoles mm
    unit units iu u ml mls l liter liters cc million billion percent h hr hrs hour hours min minute minutes day days wk week
    weeks month months cm act actuation dose doses mcgh
"""
_FORMS: Final = """
    tab tabs tablet tablets tabl cap caps capsule capsules caplet caplets gelcap gelcaps softgel softgels pill pills soln
    solution sol susp suspension syrup elixir liq liquid powder pwd packet packets pack pkt granules granule drop drops gtt
    gtts suppository suppositories supp supps enema enemas inhaler inhalers neb nebs nebu nebulizer nebulized nebules mdi hfa
    dpi diskus respimat aerosol aero lozenge lozenges troche film chew chews chewable disintegrating dispersible disperse
    effervescent injection inj injectable infusion infusions ivpb ivp piggyback drip bolus premix premixed pf tbec tbcr tbdp
    tb24 tb12 cpdr cpcr cpep cp24 cp12 cpsp solr solp soaj sosy emul emulsion subl lvp pb mbp conc concentrate concentrated
    wafer gum extended delayed immediate sustained controlled release enteric coated crys crystals flush lock oral patch
    patches ptch td24 pt24 pt72 ptwk penfill flexpen kwikpen solostar flextouch cartridge autoinjector udpwd ud sdv mdv
    abboject carpuject sa tr liqd syrg rinse comprime comprimes gelule gelules cp otc vial vials amp amps ampul ampule ampules
    bag bags bottle bottles tube tubes cup cups flex plas cont container excel crtrdg ndl mini minibag pgbk diluent water
"""
_FREQUENCIES: Final = """
    daily bid tid qid qday qam qpm qhs qod prn once twice times time weekly monthly nightly bedtime morning evening noon every
    other each needed stat now meals meal breakfast dinner food as per at before after with x for hourly continuous
    continuously
"""
_DIRECTIONS: Final = """
    take takes taking give inject use apply chew swallow inhale instill one two three half in the to by and w mouth
"""
_SYSTEMIC: Final = """
    po iv im sc sq subq subcut subcutaneous subcutaneously sl sublingual sublingually buccal ng ngt og gt peg jt orally
    intravenous intravenously intramuscular intramuscularly transdermal td push ij
"""
_LOCAL: Final = """
    topical topically top cream crea crm ointment oint lotion shampoo foam gel ophth ophthalmic opht otic eye eyes ear ears
    ocular nasal nasally nostril nostrils inhaled inhalation ih vaginal vaginally pr rectal rectally rect spray sprays puff
    puffs intrathecal epidural irrigation mt skin scalp affected area
"""
_REASONS: Final = """
    pain fever sleep nausea vomiting anxiety constipation itching cough wheezing insomnia agitation indigestion moderate
    severe mild headache shortness of breath or chest
"""
_BEHIND: Final = "hs bd od os ou qd op ot re va bq q number syringe syringes syr pen pens s"
_ORIGINS: Final = "human rdna recombinant porcine"

# Units of what is given: nought of one is no drug.
_AMOUNTS: Final = """
    mg mgs mcg mcgs ug g gm gms gram grams meq mmol unit units iu ml tab tabs tablet tablets cap caps capsule
    capsules dose doses
"""

AMOUNTS: Final = frozenset(_AMOUNTS.split())
UNITS: Final = frozenset(_UNITS.split())
LOCAL: Final = frozenset(_LOCAL.split())
WORDS: Final = FORMS.union(
    UNITS, LOCAL, *(each.split() for each in (_FORMS, _FREQUENCIES, _DIRECTIONS, _SYSTEMIC, _ORIGINS))
)
# What also ends names of products, or of things that hold none of the drug ("insulin syringe").
BEHIND_A_STRENGTH: Final = frozenset(_BEHIND.split())
# What a drug is given for, behind one of these words alone: "Tylenol Sinus" is another product.
FOR: Final = frozenset(("prn", "for", "needed"))
REASONS: Final = frozenset(_REASONS.split())
# Understood together alone: INH by itself is isoniazid.
PHRASES: Final = frozenset(
    (
        "a day",
        "a week",
        "inh soln",
        "inh neb",
        "inh aer",
        "inh powder",
        "puff inh",
        "puffs inh",
        "preservative free",
        "sliding scale",
        "solostar pen",
        "piggy back",
        "bag plus",
    )
)
EVERY: Final = re.compile(r"q\d{1,2}(?:h|hr|hrs|min|d)?")
