"""Files of documents: what is read, and each fault with the line that it is on."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pipelines.text_tokens import ReadText, Window
from models.pipelines.texts import ScriptParameters
from models.search.documents import CollectionRefused, Columns, Document, LineFault, read_documents
from models.search.passages import passages_of


def read(folder: Path, content: str | bytes, name: str = "notes.csv", **columns: str) -> list[Document]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_documents(path, Columns(**columns), ScriptParameters(name="latin", share=0.5))


def faults(folder: Path, content: str | bytes, name: str = "notes.csv", **columns: str) -> list[LineFault]:
    with pytest.raises(CollectionRefused) as refused:
        read(folder, content, name, **columns)
    return list(refused.value.faults)


def test_rows_of_csv_are_documents(tmp_path: Path) -> None:
    content = 'id,title,text,url,ward\n7,Note,"No fever, no ""pain"".\nHome.",http://example.org/7,A\n\n8,,Cough,,B\n'
    assert read(tmp_path, content) == [
        Document("7", 'No fever, no "pain".\nHome.', "Note", "http://example.org/7"),
        Document("8", "Cough"),
    ]


def test_lines_of_json_are_documents(tmp_path: Path) -> None:
    content = '{"id": 7, "text": "No fever", "ward": [1]}\n\n{"id": "8", "text": "Cough", "title": null}\n'
    for name in ("notes.jsonl", "notes.NDJSON"):
        assert read(tmp_path, content, name) == [Document("7", "No fever"), Document("8", "Cough")]


def test_a_document_without_an_id_gets_the_number_of_its_line(tmp_path: Path) -> None:
    assert [each.id for each in read(tmp_path, 'text\n"a\nb"\nc\n')] == ["2", "4"]
    assert [each.id for each in read(tmp_path, '{"text": "a"}\n\n{"text": "b"}', "notes.jsonl")] == ["1", "3"]


def test_columns_have_the_names_that_are_given(tmp_path: Path) -> None:
    content = "\ufeffNo,Befund,Titel\n1,Kein Fieber,T\n"
    assert read(tmp_path, content, text="Befund", id="No", title="Titel") == [
        Document("1", "Kein Fieber", "T")
    ]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("", 1, "no column text"),
        ("id,note\n1,Cough\n", 1, "name the text's column by --text. There are: id, note"),
        ("text,id,id\nCough,1,2\n", 1, "id more than once"),
        ("id,text\n", 1, "holds no document"),
        ("id,text\n1,Cough\n2,\n", 3, "it has no text"),
        ("id,text\n1,Cough\n2, \n", 3, "at least one letter or digit"),
        ("id,text\n1,Cough\n1,Fever\n", 3, "that of line 2"),
        ("id,text\n1,Cough\n,Fever\n", 3, "its id is empty"),
        ('id,text\n1,"Cough\n\n"\n2,no\x00fever\n', 5, "U+0000"),
        ("id,text\n1,Cough, dry\n", 2, "3 cells, and the header 2"),
        ('id,text\n1,Cough\n2,"Fever\n', 3, "close every quote"),
        ('id,text\n1,"Cough"x\n', 2, "close every quote"),
        (b"id,text\n1,Cough\n2,Caf\xe9\n", 3, "UTF-8"),
        ("id,text\n1,患者三天前开始发热伴有咳嗽没有胸痛也没有呼吸困难。\n", 2, "Latin script"),
        ("id,text\n1," + "a " * 500_001 + "\n", 2, "more than 1,000,000 characters"),
        ("id,text,title\n1,Cough," + "a" * 2001 + "\n", 2, "its title has more than 2,000"),
    ],
)  # fmt: skip
def test_a_fault_of_csv_names_its_line(tmp_path: Path, content: str | bytes, line: int, words: str) -> None:
    [fault] = faults(tmp_path, content)
    assert fault.line == line
    assert words in fault.detail


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("", 1, "holds no document"),
        ('{"text": "Cough"}\n{"text": "Fever"\n', 2, "it is not JSON"),
        ('{"text": "Cough"}\n["Fever"]\n', 2, "no JSON object"),
        ('{"text": "Cough", "text": "Fever"}\n', 1, "names a field twice"),
        ('{"text": ["Cough"]}\n', 1, "its text is no text"),
        ('{"text": "Cough", "url": 1.5}\n', 1, "its url is no text"),
        ('{"note": "Cough"}\n', 1, "it has no text"),
        (b'{"text": "Caf\xe9"}\n', 1, "UTF-8"),
    ],
)
def test_a_fault_of_json_names_its_line(tmp_path: Path, content: str | bytes, line: int, words: str) -> None:
    [fault] = faults(tmp_path, content, "notes.jsonl")
    assert fault.line == line
    assert words in fault.detail


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, "text\nCough\n", "notes.xlsx")
    assert ".csv, .jsonl, .ndjson" in fault.detail


def test_faults_of_many_lines_are_all_named_up_to_a_limit(tmp_path: Path) -> None:
    assert [fault.line for fault in faults(tmp_path, "id,text\n1,\n2,Cough\n3,\n")] == [2, 4]
    assert len(faults(tmp_path, "id,text\n" + "".join(f"{row},\n" for row in range(99)))) == 20


def test_no_fault_quotes_a_document(tmp_path: Path) -> None:
    secret = "Mrs Example"
    for content in (f'id,text\n1,"{secret}\n', f"id,text\n{secret},\n", f"id,text\n1,{secret}\x01\n"):
        assert all(secret not in fault.detail for fault in faults(tmp_path, content))


def words_of(text: str) -> ReadText:
    """Words and full stops as tokens, without a tokenizer."""
    offsets, place = [], 0
    for word in text.replace(".", " .").split():
        start = text.index(word, place)
        place = start + len(word)
        offsets.append((start, place))
    window = Window(
        [7] * len(offsets), [0] * len(offsets), offsets, [False] * len(offsets), [0] * len(offsets)
    )
    return ReadText([window], len(offsets), 0, truncated=False)


def test_passages_end_with_sentences_where_they_can() -> None:
    text = "One two three. Four five. Six seven eight nine ten eleven."
    found = [text[start:end] for start, end in passages_of(text, words_of(text), 8)]
    assert found == ["One two three. Four five.", "Six seven eight nine ten eleven."]
    assert [text[start:end] for start, end in passages_of(text, words_of(text), 5)] == [
        "One two three.", "Four five.", "Six seven eight nine ten", "eleven.",
    ]  # fmt: skip


@given(st.lists(st.sampled_from(["a", "bb", "c.", "dd."]), min_size=1, max_size=60), st.integers(1, 20))
def test_passages_hold_every_token_once_and_are_never_too_long(words: list[str], longest: int) -> None:
    text = " ".join(words)
    read_text = words_of(text)
    passages = passages_of(text, read_text, longest)
    for offset in read_text.windows[0].offsets:
        assert sum(start <= offset[0] and offset[1] <= end for start, end in passages) == 1
    for start, end in passages:
        assert 1 <= words_of(text[start:end]).tokens <= longest
