"""Tokens of texts: offsets, windows, unknown words, padding, and tokenizers that are damaged or another model's."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.manifest import BundleRefused
from models.pipelines.text_tokens import TextTokenizer, Window, feeds_of_windows, runs_of_windows
from models.pipelines.texts import TextParameters
from tests.unit.models.example_texts import TOKENS, tokenizer_table, write_tokenizer

OPTIONS: dict[str, Any] = {"longest": 1000, "vocabulary": len(TOKENS), "max_tokens": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("bundle"))


def tokenizer(folder: Path, **options: Any) -> TextTokenizer:
    return TextTokenizer(folder, TextParameters(**OPTIONS | options))


def pieces(text: str, window: Window) -> list[str]:
    """What the offsets of a window cut out of the text."""
    offsets = zip(window.offsets, window.special, strict=True)
    return [text[start:end] for (start, end), special in offsets if not special]


def fault_of(folder: Path, **options: Any) -> str:
    with pytest.raises(BundleRefused) as refused:
        tokenizer(folder, **options)
    [fault] = refused.value.faults
    assert fault.place == "tokenizer.json"
    return fault.code


def test_a_text_is_read_as_the_ids_of_its_tokens(folder: Path) -> None:
    read = tokenizer(folder).read("No fever.")
    assert [window.ids for window in read.windows] == [[2, 4, 5, 11, 3]]
    assert (read.tokens, read.unknown, read.truncated) == (3, 0, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no fever", ["no", "fever"]),
        ("\u5065 no\tfever", ["\u5065", "no", "fever"]),
        ("\U0001f600 no fever", ["\U0001f600", "no", "fever"]),
        ("caf\u00e9 no", ["caf", "\u00e9", "no"]),
        ("cafe\u0301 no", ["caf", "e\u0301", "no"]),
        ("no\ffever\vno", ["no", "fever", "no"]),
    ],
)
def test_offsets_are_code_points_of_the_text_as_sent(folder: Path, text: str, expected: list[str]) -> None:
    [window] = tokenizer(folder).read(text).windows
    assert pieces(text, window) == expected


def test_a_letter_and_its_accent_are_read_like_the_letter_with_accent(folder: Path) -> None:
    made = tokenizer(folder)
    apart, composed = (made.read(each).windows[0].ids for each in ("cafe\u0301", "caf\u00e9"))
    assert apart == composed == [2, 8, 9, 3]


@given(words=st.lists(st.sampled_from(["no", "fever", "cough", "xyz"]), max_size=60))
def test_windows_cover_a_long_text_and_overlap(folder: Path, words: list[str]) -> None:
    made = tokenizer(folder, max_windows=1000, overlap=4)
    read = made.read(" ".join(words))
    ids = [TOKENS.get(word, 1) for word in words]
    assert all(
        len(window.ids) <= 16 and window.ids[0] == 2 and window.ids[-1] == 3 for window in read.windows
    )
    joined = read.windows[0].ids[1:-1]
    for window in read.windows[1:]:
        assert window.ids[1:5] == joined[-4:]
        joined += window.ids[5:-1]
    assert joined == ids
    assert (read.tokens, read.truncated) == (len(ids), False)


def test_a_text_that_needs_more_windows_says_that_it_was_truncated(folder: Path) -> None:
    made = tokenizer(folder, max_windows=2)
    fits, longer = made.read("no " * 28), made.read("no " * 29)
    assert (len(fits.windows), fits.tokens, fits.truncated) == (2, 28, False)
    assert (len(longer.windows), longer.tokens, longer.truncated) == (2, 29, True)


def test_the_share_of_unknown_words_is_told(folder: Path) -> None:
    made = tokenizer(folder)
    assert made.read("no bonjour fever toux").unknown == 0.5
    assert made.read("\u200b").unknown == 1.0  # no token at all


def test_a_pair_is_one_window_with_types(folder: Path) -> None:
    read = tokenizer(folder).read_pair("no fever", "cough")
    assert [(window.ids, window.types) for window in read.windows] == [
        ([2, 4, 5, 3, 6, 3], [0, 0, 0, 0, 1, 1])
    ]
    assert not read.truncated
    assert tokenizer(folder).read_pair("no " * 7, "no " * 7).truncated


def test_padding_is_masked_and_depends_on_a_windows_own_length(folder: Path) -> None:
    made, parameters = tokenizer(folder), TextParameters(**OPTIONS, token_types=True)
    windows = [*made.read("no fever").windows, *made.read_pair("no", "cough").windows]
    feeds = feeds_of_windows(windows, 16, parameters)
    assert feeds["input_ids"].tolist() == [[2, 4, 5, 3] + [0] * 12, [2, 4, 3, 6, 3] + [0] * 11]
    assert feeds["attention_mask"].tolist() == [[1] * 4 + [0] * 12, [1] * 5 + [0] * 11]
    assert feeds["token_type_ids"].tolist() == [[0] * 16, [0, 0, 0, 1, 1] + [0] * 11]
    assert {each.dtype.name for each in feeds.values()} == {"int64"}
    assert feeds_of_windows(windows, 16, TextParameters(**OPTIONS)).keys() == {"input_ids", "attention_mask"}


def test_long_windows_run_in_parts(folder: Path) -> None:
    window = Window([1] * 2000, [0] * 2000, [(0, 0)] * 2000, [False] * 2000, [0] * 2000)
    assert list(runs_of_windows([window] * 5)) == [([0, 1], 2000), ([2, 3], 2000), ([4], 2000)]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"model": {"type": "WordPiece"}}', b'{"version": "1.0"']
)
def test_a_damaged_tokenizer_is_a_fault_of_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    assert fault_of(tmp_path) == "tokenizer_invalid"


def test_a_missing_tokenizer_is_a_fault(tmp_path: Path) -> None:
    assert fault_of(tmp_path) == "tokenizer_invalid"


def test_a_tokenizer_of_another_vocabulary_is_a_fault(folder: Path) -> None:
    assert fault_of(folder, vocabulary=len(TOKENS) + 1) == "tokenizer_differs"


@pytest.mark.parametrize(("more", "told"), [(4, True), (-1, False)])
def test_a_padded_table_of_words_is_told_of_only_where_the_tokenizer_has_fewer_tokens(
    more: int, told: bool, folder: Path
) -> None:
    with pytest.raises(BundleRefused) as refused:
        tokenizer(folder, vocabulary=len(TOKENS) + more)
    [fault] = refused.value.faults
    assert (f"is padded, write {len(TOKENS)}" in fault.detail) is told


def test_padding_and_truncation_written_in_the_file_are_not_followed(tmp_path: Path) -> None:
    truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    padding = {
        "strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    made = tokenizer(write_tokenizer(tmp_path, truncation=truncation, padding=padding))
    assert made.read("no fever no cough").windows[0].ids == [2, 4, 5, 4, 6, 3]


def test_a_tokenizer_without_a_token_for_the_unknown_knows_all(tmp_path: Path) -> None:
    table = tokenizer_table()
    table["model"] = {
        "type": "BPE", "vocab": {"[PAD]": 0, "a": 1, "b": 2}, "merges": [], "unk_token": None, "dropout": None,
        "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
        "ignore_merges": False,
    }  # fmt: skip
    table["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(table))
    read = tokenizer(tmp_path, vocabulary=3).read("ab")
    assert (read.windows[0].ids, read.unknown) == ([1, 2], 0)
