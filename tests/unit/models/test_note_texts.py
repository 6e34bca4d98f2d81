"""Which words of a dialogue people kept for its note."""

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from models.training.note_texts import kept_by_people

WORDS = (
    "[UNK]", "doctor", "patient", "guest", "_", "family", ":", ".", ",", "?", "do", "you", "have", "any", "pain", "i", "had",
    "knee", "surgery", "right", "no", "none", "of", "the", "left", "##s",
)  # fmt: skip


def tokenizer() -> Tokenizer:
    """Word pieces in small letters."""
    made = Tokenizer(models.WordPiece({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def kept(dialogue: str, note: str, most: int = 100) -> list[str]:
    """The tokens that were kept."""
    made = tokenizer()
    flags = kept_by_people(made, dialogue, note, most)
    tokens = made.encode(dialogue).tokens[:most]
    assert flags.shape == (len(tokens),)
    return [token for token, flag in zip(tokens, flags, strict=True) if flag]


def test_words_in_the_order_of_the_note_are_kept() -> None:
    dialogue = "Doctor: Do you have any pain?\nPatient: I had knee surgery."
    assert kept(dialogue, "Pain. Knee surgery.") == ["pain", "knee", "surgery", "."]


def test_a_word_that_says_something_is_kept_out_of_order_too() -> None:
    assert kept("Patient: I had knee surgery. Right.", "Right knee surgery") == ["knee", "surgery", "right"]


def test_words_that_say_little_are_kept_beside_others_alone() -> None:
    assert kept("Patient: I had any. None of the left knee.", "I of any the left knee") == [
        "the",
        "left",
        "knee",
    ]


def test_speakers_are_never_kept() -> None:
    assert kept("Doctor: pain\nPatient: knee\nGuest_family: pain", "Patient: family doctor guest") == []


def test_all_pieces_of_a_word_are_kept_and_no_more_tokens_than_asked_for() -> None:
    assert kept("Patient: knees pains", "knees pains") == ["knee", "##s", "pain", "##s"]
    assert kept("Patient: knees pains", "knees pains", most=4) == ["knee", "##s"]
