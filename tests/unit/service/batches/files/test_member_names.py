"""Names in archives as their makers write them: they come back as they were meant, and an index finds them."""

import io
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from typing import Any
from urllib.parse import unquote_to_bytes

import pyarrow as pa
import pytest

from service.batches.files.formats.member_names import PLAUSIBLY, normal
from service.batches.files.layouts import BatchFormat
from service.batches.files.problems import FileProblem
from tests.unit.service.batches.files.example_batches import (
    blocks_of,
    image,
    images,
    plan_of,
    problem,
    zip_file,
)

ZIP, TAR = BatchFormat.ZIP, BatchFormat.TAR
UNIX, DOS = 3, 0


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def decomposed(name: str) -> str:
    return unicodedata.normalize("NFD", name)


def raw_zip(*names: bytes, index: str | None = None, system: int = UNIX, extra: bytes = b"") -> bytes:
    """A ZIP whose names are these bytes, and no flag says what they mean."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for number, name in enumerate(names):
            info = zipfile.ZipInfo(chr(ord("a") + number) * len(name))
            info.create_system, info.extra = system, extra
            archive.writestr(info, image(number))
        if index is not None:
            archive.writestr("index.csv", index)
    content = sink.getvalue()
    for number, name in enumerate(names):
        content = content.replace(chr(ord("a") + number).encode() * len(name), name)
    return content


def raw_tar(*names: bytes, form: int = tarfile.USTAR_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form, encoding="utf-8") as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name.decode(errors="surrogateescape"))
            info.size = len(image(number))
            archive.addfile(info, io.BytesIO(image(number)))
    return sink.getvalue()


def files_of(content: bytes, form: BatchFormat = ZIP, **options: Any) -> list[tuple[str, bytes | None]]:
    """The rows of an archive: their name as results have it, and their file."""
    blocks = blocks_of(content, plan_of(content, form, **images(**options)), **images())
    names = [name for block in blocks for name in block.carried.column("file").to_pylist()]
    return list(zip(names, [file for block in blocks for file in block.files], strict=True))


def faults_of(content: bytes, form: BatchFormat = ZIP) -> list[tuple[int, str]]:
    plan = plan_of(content, form, **images())
    found = [
        (block.first_row + int(row), block.faults.kinds[kind].code)
        for block in blocks_of(content, plan, **images())
        for row, kind in zip(block.faults.rows, block.faults.faults, strict=True)
    ]
    return found + [(int(row), "duplicate_id") for chunk in plan.chunks for row in chunk.duplicates]


SPELLED = [
    ("Größe.png", "utf-8", UNIX), ("Größe.png", "cp437", DOS), ("Größe.png", "cp437", UNIX), ("Größe.png", "latin-1", UNIX),
    ("Ärzte/Müller.png", "cp437", DOS), ("São José.png", "latin-1", UNIX),
    ("患者.png", "cp932", DOS), ("山田_CT.png", "cp932", DOS),
    ("テスト.png", "cp932", UNIX), ("表示画像.png", "cp932", DOS),
    ("レントゲン写真/東京.png", "cp932", DOS), ("患者.png", "gbk", DOS),
    ("病人.png", "gbk", DOS), ("PATIENT张三.png", "gbk", UNIX), ("新建文件夹/图片.png", "gbk", DOS),
    ("张三/李四.png", "gbk", DOS), ("测试.png", "gbk", UNIX), ("王婷.png", "gbk", DOS),
    # In code page 850 with a sharp s behind a consonant; with one letter of four that is rare.
    ("Málaga Pérez.png", "latin-1", UNIX), ("钱张龙夹CT.png", "gbk", DOS),
]  # fmt: skip


@pytest.mark.parametrize(("name", "encoding", "system"), SPELLED)
def test_a_name_without_a_flag_comes_back_as_it_was_meant(name: str, encoding: str, system: int) -> None:
    assert files_of(raw_zip(name.encode(encoding), system=system)) == [(name, image(0))]


@pytest.mark.parametrize(("name", "encoding", "system"), SPELLED)
def test_a_name_without_a_flag_is_found_by_an_index(name: str, encoding: str, system: int) -> None:
    content = raw_zip(b"other.png", name.encode(encoding), index=f"file\n{name}\n", system=system)
    assert files_of(content) == [(name, image(1))]


@pytest.mark.parametrize("form", [ZIP, TAR])
@pytest.mark.parametrize(
    ("name", "encoding"),
    [("Łódź.png", "cp852"), ("Łódź.png", "cp1250"), ("Снимок.png", "cp866"), ("снимок.png", "cp1251"), ("ФОТО.png", "cp1251"),
     ("фото.png", "koi8_r"), ("ακτινογραφία.png", "cp1253"), ("ασθενής.png", "cp737"), ("환자.png", "cp949"),
     ("흉부영상.png", "euc_kr"), ("김철수.png", "euc_kr"), ("תמונה.png", "cp1255"), ("37°C.png", "cp1251"),
     ("50% фото.png", "cp866"), ("胸部正面.png", "euc_jp"), ("田中.png", "euc_jp"), ("Größe.png", "mac_roman"),
     ("Żółć.png", "cp852"), ("Göğüs_röntgeni.png", "cp1254"), ("ภาพ.png", "cp874"), ("рентген.png", "koi8_r"),
     ("kūno.png", "cp1257"),
     # Words in two encodings: Hernįndez, Sťren, naőve café and half-width katakana, or a letter alone.
     ("Hernández.png", "latin-1"), ("Søren.png", "cp850"), ("naïve café.png", "cp437"),
     ("Ü.png", "latin-1"), ("ｱｲｳ.png", "cp932"), ("ｶﾞﾝ.png", "cp932"), ("胸片.png", "gbk"),
     # A letter alone, one common letter too few, and a name that looks as if its bytes were escaped already.
     ("病.png", "gbk"), ("林_1.png", "cp932"), ("唐顾徐.png", "gbk"), ("100%41 фото.png", "cp866")],
)  # fmt: skip
def test_a_name_in_an_encoding_that_is_not_read_comes_back_as_its_bytes(
    name: str, encoding: str, form: BatchFormat
) -> None:
    raw = name.encode(encoding)
    [(found, file)] = files_of(raw_zip(raw) if form is ZIP else raw_tar(raw), form)
    assert found.isascii()
    assert unquote_to_bytes(found) == raw, "nothing of it is lost"
    assert file == image(0)


def test_a_name_that_came_back_as_its_bytes_is_found_by_an_index_of_it() -> None:
    raw = "Снимок.png".encode("cp866")
    [(found, _)] = files_of(raw_zip(raw))
    assert files_of(raw_zip(raw, index=f"file\n{found}\n")) == [(found, image(0))]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("환자.png", "cp949"), ("Снимок.png", "cp866"), ("Снимок.png", "cp1251"), ("病歷.png", "big5"), ("Straße.png", "cp437"),
     ("Łódź.png", "cp852"), ("Größe.png", "mac_roman"), ("胸部正面.png", "euc_jp"), ("kūno.png", "cp1257")],
)  # fmt: skip
def test_an_index_finds_a_name_that_cannot_be_told_without_it(name: str, encoding: str) -> None:
    content = raw_zip(b"a.png", name.encode(encoding), index=f"file\n{name}\n")
    assert files_of(content) == [(name, image(1))]


def test_an_index_in_decomposed_letters_finds_a_name_in_an_encoding_that_cannot_be_told() -> None:
    name = decomposed("Größe.png")
    content = raw_zip(b"a.png", composed(name).encode("mac_roman"), index=f"file\n{name}\n")
    assert files_of(content) == [(name, image(1))]


def test_an_index_finds_a_name_in_an_encoding_that_cannot_be_told_behind_a_backslash() -> None:
    name = "Снимки/Снимок.png"
    raw = name.replace("/", "\\").encode("cp866")
    assert files_of(raw_zip(b"a.png", raw, index=f"file\n{name}\n", system=DOS)) == [(name, image(1))]


@pytest.mark.parametrize("form", [ZIP, TAR])
@pytest.mark.parametrize("stored", [composed, decomposed])
@pytest.mark.parametrize("asked", [composed, decomposed])
def test_composed_and_decomposed_letters_are_the_same_name(
    form: BatchFormat, stored: Any, asked: Any
) -> None:
    names = [stored("Ä/é.png"), "index.csv"]
    files = [image(1), f"file\n{asked('Ä/é.png')}\n".encode()]
    sink = io.BytesIO()
    if form is ZIP:
        content = zip_file(list(zip(names, files, strict=True)))
    else:
        with tarfile.open(fileobj=sink, mode="w") as archive:
            for name, file in zip(names, files, strict=True):
                info = tarfile.TarInfo(name)
                info.size = len(file)
                archive.addfile(info, io.BytesIO(file))
        content = sink.getvalue()
    assert files_of(content, form) == [(asked("Ä/é.png"), image(1))], (
        "the name comes back as the index has it"
    )


def test_without_an_index_a_name_comes_back_as_the_archive_has_it() -> None:
    for spell in (composed, decomposed):
        assert files_of(zip_file([(spell("é.png"), image())])) == [(spell("é.png"), image())]


def test_two_spellings_of_a_name_are_ambiguous_to_an_index_and_a_duplicate_without() -> None:
    members = [(composed("é.png"), image(0)), (decomposed("é.png"), image(1))]
    index = ("index.csv", f"file\n{composed('é.png')}\n".encode())
    assert faults_of(zip_file([*members, index])) == [(1, "ambiguous_file")]
    assert faults_of(zip_file(members)) == [(2, "duplicate_id")]


@pytest.mark.parametrize("others", ["mac_roman", "cp1250"])
def test_two_files_whose_bytes_may_be_a_name_are_ambiguous_to_an_index(others: str) -> None:
    name = "Größe.png"
    content = raw_zip(name.encode("mac_roman"), name.encode(others), index=f"file\n{name}\n")
    assert faults_of(content) == [(1, "ambiguous_file")]


def test_backslashes_part_folders_as_dotnet_means_them() -> None:
    content = raw_zip(b"ward\\a.png", b"ward\\b\\", system=DOS)
    assert files_of(content) == [("ward/a.png", image(0))]
    for asked in ("ward/a.png", "ward\\a.png"):
        assert files_of(raw_zip(b"ward\\a.png", index=f"file\n{asked}\n")) == [(asked, image(0))]


@pytest.mark.parametrize(
    "name", [b"..\\a.png", b"\\a.png", b"ward\\..\\..\\a.png", b"C:\\a.png", b"\\\\host\\a.png"]
)
def test_backslashes_that_lead_outside_are_refused(name: bytes) -> None:
    assert problem(raw_zip(name), ZIP, **images()) is FileProblem.UNSAFE_NAME


def test_the_unicode_path_that_info_zip_adds_is_the_name() -> None:
    raw, name = b"Gr?e.png", "Größe 患.png"
    field = b"\1" + struct.pack("<L", zlib.crc32(raw)) + name.encode()
    extra = struct.pack("<2H", 0x7075, len(field)) + field
    assert files_of(raw_zip(raw, extra=extra)) == [(name, image(0))]
    stale = extra[:5] + b"\0\0\0\0" + extra[9:]
    assert files_of(raw_zip(raw, extra=stale)) == [(raw.decode(), image(0))]


@pytest.mark.parametrize("name", [b"__MACOSX/._a.png", b"ward\\._a.png", b"Desktop.ini", b"ward/THUMBS.DB"])
def test_clutter_is_no_row_whoever_packed_it(name: bytes) -> None:
    assert files_of(raw_zip(b"a.png", name)) == [("a.png", image(0))]


def test_a_tar_of_a_folder_is_found_with_and_without_its_dot() -> None:
    content = raw_tar(b"./ward/a.png")
    assert files_of(content, TAR) == [("./ward/a.png", image(0))]
    assert normal("./ward//a.png") == normal("ward/a.png") == normal("ward\\a.png")


def test_an_index_is_found_in_a_tar_of_a_folder() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, file in (("./a.png", image(3)), ("./index.csv", b"file\na.png\n")):
            info = tarfile.TarInfo(name)
            info.size = len(file)
            archive.addfile(info, io.BytesIO(file))
    assert files_of(sink.getvalue(), TAR) == [("a.png", image(3))]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["Größe.png", "患者" * 20 + ".png"])
def test_names_in_a_tar_of_any_kind_come_back(form: int, name: str) -> None:
    if form == tarfile.USTAR_FORMAT and len(name.encode()) > 100:
        pytest.skip("ustar has no room for it")
    assert files_of(raw_tar(name.encode(), form=form), TAR) == [(name, image(0))]


@pytest.mark.parametrize(
    ("name", "encoding"), [("Größe.png", "latin-1"), ("患者.png", "cp932"), ("病人.png", "gbk")]
)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_names_in_a_tar_that_are_not_utf8_come_back(form: int, name: str, encoding: str) -> None:
    assert files_of(raw_tar(name.encode(encoding), form=form), TAR) == [(name, image(0))]


def test_one_encoding_serves_all_names_of_an_archive() -> None:
    names = ["あ.png", "い.png", "田中.png"]
    content = raw_zip(*(name.encode("cp932") for name in names), system=DOS)
    assert [name for name, _ in files_of(content)] == names


def test_more_names_tell_an_encoding_that_one_name_leaves_open() -> None:
    names = ["胸片.png", "病人.png"]
    assert [found for found, _ in files_of(raw_zip(*(name.encode("gbk") for name in names)))] == names


@pytest.mark.parametrize("name", [b"Gr\x9a\xa7e.png", b"Pr\x95\x5cfung.png", b"\x95\x5c_1.png"])
def test_a_letter_of_china_or_japan_in_a_latin_word_or_alone_is_no_name(name: bytes) -> None:
    [(found, _)] = files_of(raw_zip(name))
    assert found.isascii()


def test_a_sharp_s_behind_a_consonant_is_in_no_word() -> None:
    name = b"Bl\xdfm.png"
    [(found, _)] = files_of(raw_zip(name))
    assert found == "Bl%DFm.png"
    assert unquote_to_bytes(found) == name


def test_names_stay_texts_whatever_their_bytes_are() -> None:
    content = raw_zip(bytes(range(0x80, 0xC0)), bytes(range(0xC0, 0x100)))
    assert pa.array([name for name, _ in files_of(content)], pa.string()).null_count == 0


@pytest.mark.parametrize(
    ("text", "is_a_name"),
    [
        ("снимок.png", True),
        ("СНИМОК 1.png", True),
        ("Снимок.png", True),
        ("по 12.png", True),
        ("я по.png", True),
        ("я.png", False),  # a letter alone
        ("сНимок.png", False),
        ("снимок№1.png", False),  # a sign
        ("снимок é.png", False),  # a letter of another script
        ("plain.png", False),
    ],
)
def test_words_of_one_script_are_written_as_words_are(text: str, is_a_name: bool) -> None:
    assert PLAUSIBLY["cp1251"](text) is is_a_name
