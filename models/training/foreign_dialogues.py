"""Turns of doctors and patients in languages that a model of English does not read, in Latin letters. Made up."""

from __future__ import annotations

from typing import Final

TURNS: Final = {
    "German": """
Seit wann haben Sie Fieber? | Seit gestern.
Was führt Sie zu mir? | Ich habe starke Schmerzen in der Brust.
Nehmen Sie Medikamente? | Ja, Ibuprofen und Metoprolol.
Haben Sie Allergien? | Nein, keine.
Rauchen Sie? | Nicht mehr, seit zwei Jahren.
Wurden Sie schon einmal operiert? | Mein Blinddarm wurde entfernt.
Ist Ihnen übel? | Manchmal nach dem Essen.
Hat jemand in der Familie Diabetes? | Meine Mutter hat Diabetes.
Wo tut es weh? | Am rechten Knie, so an der Seite.
Wir machen ein EKG und nehmen Blut ab. | Gut, danke.
""",
    "French": """
Depuis quand avez-vous de la fièvre ? | Depuis hier soir.
Qu'est-ce qui vous amène ? | J'ai mal au ventre et des nausées.
Prenez-vous des médicaments ? | Oui, du paracétamol et de la metformine.
Avez-vous des allergies ? | Non, aucune.
Est-ce que vous fumez ? | J'ai arrêté il y a dix ans.
Avez-vous été opéré ? | On m'a enlevé la vésicule.
Où avez-vous mal ? | Au genou droit, on me l'a dit.
Y a-t-il du diabète dans la famille ? | Ma mère est diabétique.
Vous toussez beaucoup ? | Surtout la nuit.
Nous allons faire une radiographie. | D'accord, merci.
""",
    "Spanish": """
¿Desde cuándo tiene fiebre? | Desde ayer.
¿Qué le trae por aquí? | Me duele mucho la cabeza.
¿Toma algún medicamento? | Sí, ibuprofeno y metformina.
¿Tiene alergias? | No, ninguna.
¿Fuma usted? | No, nunca he fumado.
¿Le han operado alguna vez? | Me operaron de apendicitis a los doce.
¿Dónde le duele? | En la rodilla derecha.
¿Alguien de la familia tiene diabetes? | Mi madre es diabética.
¿Ha tenido tos? | Un poco por la noche.
Vamos a hacer un análisis de sangre. | Muy bien, gracias.
""",
    "Italian": """
Da quando ha la febbre? | Da ieri sera.
Che cosa si sente? | Ho un forte dolore al petto.
Prende dei farmaci? | Sì, ramipril e aspirina.
Ha allergie? | No, nessuna.
È mai stato operato? | Mi hanno tolto l'appendice.
In famiglia qualcuno ha il diabete? | Mia madre.
""",
    "Dutch": """
Sinds wanneer heeft u koorts? | Sinds gisteren.
Waar heeft u last van? | Ik heb pijn in mijn borst.
Gebruikt u medicijnen? | Ja, metformine en een bloedverdunner.
Bent u ergens allergisch voor? | Nee, nergens voor.
Bent u ooit geopereerd? | Mijn blindedarm is eruit.
Heeft iemand in de familie suikerziekte? | Mijn moeder.
""",
    "Portuguese": """
Desde quando tem febre? | Desde ontem à noite.
O que o traz aqui? | Tenho uma dor forte no peito.
Toma algum remédio? | Sim, losartana e aspirina.
Tem alguma alergia? | Não, nenhuma.
Já fez alguma cirurgia? | Tirei a vesícula.
Alguém da família tem diabetes? | A minha mãe.
""",
}


def dialogues() -> list[str]:
    """Each question with its answer, and all of a language together."""
    found = []
    for turns in TURNS.values():
        pairs = [line.split(" | ") for line in turns.strip().splitlines()]
        short = [f"Doctor: {asked}\nPatient: {said}" for asked, said in pairs]
        found += [*short, "\n".join(short)]
    return found
