"""Chinese names of drugs and allergens, and the phrases of recorded allergies, in English. A closed table.

What it does not have stays Chinese, and is then not understood: nothing is guessed. Written from general knowledge of how
allergies are recorded; nobody who treats patients has read it.
"""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = """
    青霉素类 penicillins|青霉素 penicillin|盘尼西林 penicillin|青霉素G penicillin g|阿莫西林 amoxicillin
    氨苄西林 ampicillin|氨苄青霉素 ampicillin|哌拉西林 piperacillin|苯唑西林 oxacillin|头孢菌素类 cephalosporins
    头孢菌素 cephalosporin|头孢类 cephalosporins|头孢 cephalosporin|先锋霉素 cephalosporin|头孢曲松 ceftriaxone
    头孢唑林 cefazolin|头孢呋辛 cefuroxime|头孢他啶 ceftazidime|头孢噻肟 cefotaxime|头孢吡肟 cefepime|头孢克洛 cefaclor
    头孢克肟 cefixime|头孢氨苄 cephalexin|头孢地尼 cefdinir|亚胺培南 imipenem|美罗培南 meropenem|磺胺类药物 sulfonamides
    磺胺类 sulfonamides|磺胺药 sulfonamides|磺胺 sulfonamide|磺胺嘧啶 sulfadiazine|复方新诺明 bactrim
    复方磺胺甲噁唑 bactrim|磺胺甲噁唑 sulfamethoxazole|红霉素 erythromycin|阿奇霉素 azithromycin|克拉霉素 clarithromycin
    大环内酯类 macrolides|链霉素 streptomycin|庆大霉素 gentamicin|阿米卡星 amikacin|丁胺卡那霉素 amikacin
    妥布霉素 tobramycin|氨基糖苷类 aminoglycosides|四环素类 tetracyclines|四环素 tetracycline|多西环素 doxycycline
    强力霉素 doxycycline|米诺环素 minocycline|左氧氟沙星 levofloxacin|环丙沙星 ciprofloxacin|莫西沙星 moxifloxacin
    诺氟沙星 norfloxacin|氧氟沙星 ofloxacin|喹诺酮类 quinolones|喹诺酮 quinolone|沙星类 quinolones|克林霉素 clindamycin
    林可霉素 lincomycin|万古霉素 vancomycin|甲硝唑 metronidazole|替硝唑 tinidazole|利福平 rifampin|异烟肼 isoniazid
    氟康唑 fluconazole|呋喃妥因 nitrofurantoin|阿司匹林 aspirin|乙酰水杨酸 aspirin|布洛芬 ibuprofen
    对乙酰氨基酚 acetaminophen|扑热息痛 acetaminophen|双氯芬酸 diclofenac|吲哚美辛 indomethacin|消炎痛 indomethacin
    萘普生 naproxen|塞来昔布 celecoxib|非甾体抗炎药 nsaids|非甾体类抗炎药 nsaids|吗啡 morphine|可待因 codeine
    哌替啶 meperidine|度冷丁 meperidine|杜冷丁 meperidine|曲马多 tramadol|芬太尼 fentanyl|普鲁卡因 procaine
    利多卡因 lidocaine|布比卡因 bupivacaine|罗哌卡因 ropivacaine|丙泊酚 propofol|地西泮 diazepam|安定 diazepam
    咪达唑仑 midazolam|苯巴比妥 phenobarbital|鲁米那 phenobarbital|卡马西平 carbamazepine|苯妥英钠 phenytoin
    苯妥英 phenytoin|丙戊酸钠 valproic acid|丙戊酸 valproic acid|拉莫三嗪 lamotrigine|别嘌醇 allopurinol|华法林 warfarin
    肝素 heparin|氯吡格雷 clopidogrel|胰岛素 insulin|二甲双胍 metformin|碘造影剂 contrast dye|含碘造影剂 contrast dye
    造影剂 contrast dye|碘 iodine|碘伏 povidone-iodine|聚维酮碘 povidone-iodine|乳胶 latex|胶布 tape|胶带 tape|花粉 pollen
    尘螨 dust|鸡蛋 egg|大豆 soy|花生 peanut|阿托伐他汀 atorvastatin|辛伐他汀 simvastatin|瑞舒伐他汀 rosuvastatin
    硝苯地平 nifedipine|氨氯地平 amlodipine|美托洛尔 metoprolol|比索洛尔 bisoprolol|卡托普利 captopril|依那普利 enalapril
    培哚普利 perindopril|缬沙坦 valsartan|氯沙坦 losartan|呋塞米 furosemide|速尿 furosemide|氢氯噻嗪 hydrochlorothiazide
    螺内酯 spironolactone|硝酸甘油 nitroglycerin|单硝酸异山梨酯 isosorbide mononitrate|地高辛 digoxin|胺碘酮 amiodarone
    奥美拉唑 omeprazole|泮托拉唑 pantoprazole|地塞米松 dexamethasone|泼尼松 prednisone|强的松 prednisone
    甲泼尼龙 methylprednisolone|氢化可的松 hydrocortisone|氨茶碱 aminophylline|甲氨蝶呤 methotrexate|环孢素 cyclosporine
    西地那非 sildenafil|他达拉非 tadalafil|利伐沙班 rivaroxaban|阿哌沙班 apixaban|达比加群酯 dabigatran|达比加群 dabigatran
    依度沙班 edoxaban|替格瑞洛 ticagrelor|低分子肝素 low molecular weight heparin|依诺肝素 enoxaparin|达肝素 dalteparin
    去甲肾上腺素 norepinephrine|肾上腺素 epinephrine|多巴胺 dopamine|多巴酚丁胺 dobutamine|氯化钾 potassium chloride
    氯化钠 sodium chloride|氯化钙 calcium chloride|葡萄糖酸钙 calcium gluconate|硫酸镁 magnesium sulfate
    碳酸氢钠 sodium bicarbonate
"""
_PHRASES: Final = """
    过敏性休克 anaphylaxis|过敏反应 allergic reaction|过敏史 allergy|过敏 allergy|皮试阳性 allergy|药物 drug|患者 patient
    病人 patient|皮疹 rash|荨麻疹 urticaria|瘙痒 itching|呼吸困难 dyspnea|恶心 nausea|呕吐 vomiting|腹泻 diarrhea
    头晕 dizziness|头痛 headache|休克 shock|水肿 edema|发热 fever|出现 with|引起 caused|导致 caused|疑似 suspected
    母亲 mother|父亲 father|家族 family
    可疑 suspected|可能 possible|严重 severe|轻度 mild|曾 had|有 has|对 to|否认 denies|无 no|没有 no|未发现 no|以及 and
    及 and|和 and|与 and|或 or|但 but|吗 ?|、 or|已知 known|等
"""
_FORMS: Final = """
    片剂 tablet|缓释片 er tablet|控释片 cr tablet|肠溶片 ec tablet|分散片 tablet|咀嚼片 tablet|片 tablet|胶囊 capsule
    注射液 injection|注射剂 injection|口服 po|静脉滴注 iv|静脉注射 iv|静滴 iv|皮下注射 sc|肌肉注射 im|舌下含服 sl|毫克 mg
    微克 mcg|单位 units|毫升 ml|克 g|每日一次 daily|每日两次 bid|每日三次 tid|每天一次 daily|每晚 qhs|贴剂 patch
    注射用 injection|盐酸 |硫酸氢 |硫酸 |酒石酸 |马来酸 |钠 |钾 |钙
    滴眼液 ophthalmic drops|乳膏 cream|软膏 ointment|气雾剂 inhaler|吸入剂 inhaler
"""
_SCRIPT: Final = re.compile(r"[\u3400-\u9fff]")
# "No (known) drug (and food) allergies"; what denies allergies to food alone says nothing of drugs.
_NONE: Final = re.compile(
    r"(?<![\u3400-\u9fff])(?:无|否认|未发现|没有)(?:有|已知|明确|任何)*(?P<other>其他|其它)?(?P<of>(?:(?:药物|药品|食物|食品|花粉)[、及和或与/]?)*)过敏(?:史|原|反应)?(?![\u3400-\u9fff])"
)
_LISTED_NONE: Final = re.compile(r"(?:药物|食物药物|药物食物)?过敏史\s*[:\uff1a]?\s*(?:无|否认|没有)")
# An entry that is negative: "青霉素(-)", "penicillin (-)", "青霉素皮试阴性".
_NEGATIVE: Final = re.compile(
    r"对?(?P<what>[^\uff0c\u3002\uff1b\u3001,;\uff1a:()\uff08\uff09\s]+?)\s*(?:皮肤试验|皮试|过敏试验)?\s*"
    r"(?:[(\uff08]\s*(?:[-\u2212\u2013\uff0d]|阴性)\s*[)\uff09]|[:\uff1a]?\s*阴性(?![\u3400-\u9fff]))"
)
_NOT_ALLERGIC: Final = re.compile(
    r"对?(?P<what>[^\uff0c\u3002\uff1b\u3001,;\uff1a:\s]+?)(?:无|不|没有)过敏(?:史|反应)?(?![\u3400-\u9fff])"
)


def _table(text: str) -> dict[str, str]:
    pairs = (each.strip().partition(" ") for line in text.splitlines() for each in line.split("|"))
    return {chinese: english for chinese, _, english in pairs if chinese}


NAMES: Final = _table(_NAMES)
_ALL: Final = _table(_PHRASES) | NAMES
_OF_DRUGS: Final = NAMES | _table(_FORMS)
_KNOWN, _DRUGS = (
    re.compile("|".join(sorted(map(re.escape, some), key=len, reverse=True))) for some in (_ALL, _OF_DRUGS)
)


def is_chinese(text: str) -> bool:
    """Whether there are Chinese characters in the text."""
    return _SCRIPT.search(text) is not None


def negative_in_words(text: str) -> str:
    """The text with "not allergic to" in place of a minus sign in brackets, or of "negative" in Chinese, behind a name."""
    return _NEGATIVE.sub(r" not allergic to \g<what> ", text)


def drug_in_english(name: str) -> str:
    """The name of a drug, or an order, with what the table has in English."""
    return _DRUGS.sub(lambda found: f" {_OF_DRUGS[found[0]]} ", name) if is_chinese(name) else name


def in_english(text: str) -> str:
    """A recorded allergy with what the table has in English: "对青霉素过敏" gives "to penicillin allergy"."""
    if text.strip() in ("无", "没有") or _LISTED_NONE.fullmatch(text.strip()):
        return "none"
    plain = _NOT_ALLERGIC.sub(r" not allergic to \g<what> ", _NONE.sub(_none, text))
    return _KNOWN.sub(lambda found: f" {_ALL[found[0]]} ", plain)


def _none(found: re.Match[str]) -> str:
    if found["of"] and "药" not in found["of"]:
        return found[0]
    return " " if found["other"] else " no known allergies "
