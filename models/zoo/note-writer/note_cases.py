"""The dialogues of the golden cases of note-writer."""

# Made up: what it is of, then the dialogue.
DIALOGUES = """
# allergies
Doctor: Are you allergic to any medicines?
Patient: Yes, penicillin gives me a rash.
Doctor: Any others?
Patient: No, only that one.

# no allergies
Doctor: Do you have any drug allergies that I should know of?
Patient: No.

# medications
Doctor: Which medicines do you take at home?
Patient: Metformin twice a day, and lisinopril in the morning.
Doctor: What dose is the lisinopril?
Patient: Ten milligrams.

# surgery
Doctor: Have you had any operations?
Patient: My appendix was taken out when I was twelve, and a knee replacement two years ago.
Doctor: Any problems after the surgery?
Patient: No.

# family and habits
Doctor: Do you smoke or drink?
Patient: I stopped smoking ten years ago, and I have a glass of wine on Sundays.
Doctor: Are you married?
Patient: Yes, with three children.
Doctor: Does anyone in the family have diabetes?
Patient: My mother does.

# present illness
Doctor: What brings you in today?
Patient: I fell on the ice on Tuesday and my wrist has hurt since.
Doctor: Is it swollen?
Patient: It was, it is better now, but I cannot lift anything.

# review of systems
Doctor: Any fever or chills?
Patient: No.
Doctor: Chest pain or shortness of breath?
Patient: No.
Doctor: Nausea, vomiting or diarrhea?
Patient: No.

# a denial after statements
Doctor: You have a fracture of the left wrist. We will put it in a cast. Does that worry you?
Patient: No.

# an instruction
Doctor: You need to take your insulin every day and stop smoking. Any questions?
Patient: No.

# numbers in words
Doctor: How high was it?
Patient: My blood pressure was one forty five over ninety, and my sugar was two hundred fifty.

# doses and changes without their drug
Doctor: What brings you in today?
Patient: I fell on the ice, and my left knee hurts and is swollen.
Doctor: Do you take metoprolol 25 or 50 mg?
Patient: 50 mg twice daily.
Doctor: And the warfarin?
Patient: Stopped by my cardiologist in March.
Doctor: For the pain, take acetaminophen 650 mg every six hours.
Patient: I will do that.

# relatives in answers
Doctor: Are you diabetic?
Patient: No.
Doctor: And the family?
Patient: My wife is. My sister had breast cancer at age 40.
Doctor: Did your mother have colon cancer?
Patient: No.

# a disease that is ruled out in other words
Doctor: The scan is clear of stroke. You have a migraine.

# a disease that is off the table
Doctor: Stroke is off the table. You have a migraine.

# a myth
Doctor: It is a myth that you had a stroke. You have a migraine.

# a drug to be skipped
Doctor: Skip the metformin. Take the insulin.
Patient: Okay.

# a drug to be left out
Doctor: Leave out the metformin. Take the insulin.
Patient: Okay.

# a drug to be got rid of
Doctor: Get rid of the metformin. Take the insulin.
Patient: Okay.

# drugs that were stopped in other words
Patient: I came off lisinopril. I ran out of warfarin. I am done with aspirin. Metoprolol I take.

# drugs that are not taken now
Patient: Lisinopril is out. I took warfarin in the past. Aspirin is dangerous for me. Metoprolol I take.

# a drug that is tolerated
Doctor: Any drug allergies?
Patient: Penicillin is fine. Sulfa gives me hives.

# a tolerated drug that was asked for
Doctor: Are you allergic to penicillin?
Patient: Penicillin is fine.

# a drug of a sister's
Doctor: Your sister has epilepsy, correct?
Patient: Yes.
Doctor: And she takes Dilantin three hundred milligrams?
Patient: Yes.

# a drug of his
Doctor: Does he take warfarin?
Patient: Yes.

# seizures of hers
Doctor: Has she had seizures?
Patient: Yes.

# a negation in front of a title
Doctor: What did they say?
Patient: I fell on the ice. I don't think Dr. Lee found cancer. I was never told by Dr. Lee that I have asthma.

# a condition in front of a title
Patient: My left knee hurts. If Dr. Kim finds cancer, I will call.

# dots within a negation
Doctor: What brings you in today?
Patient: My left knee hurts and is swollen. I am not... allergic to penicillin.

# a mark within a negation
Patient: My left knee hurts and is swollen. I never, ever! had cancer. I don't, you know? have asthma.

# an abbreviation within a negation
Patient: My left knee hurts and is swollen. I have no hx. of asthma. I have not had since 8 a.m. any chest pain.

# a negation that goes on in the next turn
Doctor: What brings you in today?
Patient: My left knee hurts and is swollen. I am not allergic to
Doctor: Go on.
Patient: penicillin.

# a drug of the past
Doctor: What brings you in today?
Patient: My left knee hurts and is swollen.
Doctor: You take warfarin.
Patient: Used to.
Doctor: You take metformin.
Patient: Yes.

# a disease that is news
Patient: My left knee hurts and is swollen.
Doctor: So you have cancer.
Patient: What? Who told you that?

# a disease of a guest's
Patient: My left knee hurts and is swollen.
Guest_family: I have diabetes myself. I take insulin.

# diseases and drugs of a doctor's
Patient: My left knee hurts and is swollen.
Doctor: I had asthma as a child. I take lisinopril myself. Another patient of mine takes warfarin.

# a speaker of another label
Doctor: What brings you in today?
Patient: My left knee hurts and is swollen.
Nurse: I have asthma.
Interpreter: He takes warfarin.

# a list that is denied
Patient: My left knee hurts and is swollen.
Doctor: I will read a list of drugs. Aspirin, ibuprofen, warfarin. Do you take any of them?
Patient: No.

# a scan of somebody else's
Patient: My left knee hurts and is swollen.
Doctor: The scan showed a tumor in the liver.
Patient: They mixed my scan up with another person's.

# a denial in the next sentence
Patient: My left knee hurts and is swollen.
Doctor: Anything else?
Patient: Diabetes. Gout. Lupus. I don't have any of those.

# another patient
Patient: My left knee hurts and is swollen.
Doctor: The patient next door has tuberculosis. Do you have a cough?
Patient: Yes.

# another language
Doctor: Seit wann haben Sie Fieber?
Patient: Seit gestern.

# no dialogue
Anaemia is a condition in which the blood does not carry enough oxygen to the rest of the body.
"""
