"""How an image is turned: by every place of its file that says so, in every form; what cannot be read is refused."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from models.pipelines.image_file import decode_image, read_image
from tests.unit.models.example_images import Pixels, chunk, inserted, jpeg, noise, png, refused

SQUARE = noise(12, 8)
JPEG, PNG = jpeg(SQUARE, quality=95), png(SQUARE)
CONFLICTING = (
    "conflicting_orientation: The image's metadata contradict each other on how it is to be turned: "
    "turn it upright and export it without metadata."
)
UNCLEAR = (
    "unclear_orientation: The image's metadata say how it is to be turned in a form that cannot be read: "
    "turn it upright and export it without metadata."
)
HEAD = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
TAIL = "</r:RDF></x:xmpmeta>"
TIFF = 'xmlns:t="http://ns.adobe.com/tiff/1.0/"'
TYPES = {"BYTE": (1, "B"), "SHORT": (3, "H"), "LONG": (4, "I"), "SBYTE": (6, "b"), "SSHORT": (8, "h"),
         "SLONG": (9, "i"), "FLOAT": (11, "f"), "DOUBLE": (12, "d"), "IFD": (13, "I")}  # fmt: skip


def tiff(value: bytes, kind: int = 3, order: str = "<", count: int = 1) -> bytes:
    """A TIFF block of one entry: the orientation, its value in place if it has up to four bytes."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(f"{order}I", 26)
    entry = struct.pack(f"{order}HHI", 0x0112, kind, count) + place
    rest = value if len(value) > 4 else b""
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4) + rest


def short(value: int) -> bytes:
    return tiff(struct.pack("<H", value))


def attribute(value: object) -> bytes:
    return f'{HEAD}<r:Description {TIFF} t:Orientation="{value}"/>{TAIL}'.encode()


def element(value: object) -> bytes:
    return (
        f"{HEAD}<r:Description {TIFF}><t:Orientation>{value}</t:Orientation></r:Description>{TAIL}".encode()
    )


def app1(*bodies: bytes) -> bytes:
    segments = (b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies)
    return inserted(JPEG, 2, b"".join(segments))


def exif(block: bytes) -> bytes:
    return b"Exif\0\0" + block


def xmp(packet: bytes) -> bytes:
    return b"http://ns.adobe.com/xap/1.0/\0" + packet


def more_xmp(packet: bytes, place: int = 0) -> bytes:
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32
    return head + struct.pack(">II", 1000, place) + packet


def with_chunk(kind: bytes, body: bytes) -> bytes:
    return inserted(PNG, 33, chunk(kind, body))


def raw(kind: str, profile: bytes) -> bytes:
    """A profile as ImageMagick writes it into a text."""
    digits = profile.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{kind}\n{len(profile):8}\n{lines}\n".encode()


def packet_text(packet: bytes, *, packed: bool = False) -> bytes:
    body = zlib.compress(packet) if packed else packet
    return b"XML:com.adobe.xmp\0" + bytes([packed, 0]) + b"\0\0" + body


def pixels_of(file: bytes) -> Pixels:
    return np.asarray(decode_image(read_image(file), "L"))


def turned(file: bytes, orientation: int) -> Pixels:
    """The pixels of `file` as Pillow turns them by a plain Exif entry."""
    image = Image.open(BytesIO(file))
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def files_saying(value: int) -> dict[str, bytes]:
    """Files that say so at one place each."""
    found = {
        f"Exif as {name} {order}": app1(exif(tiff(struct.pack(f"{order}{form}", value), kind, order)))
        for name, (kind, form) in TYPES.items()
        for order in "<>"
    }
    return found | {
        "Exif as RATIONAL": app1(exif(tiff(struct.pack("<II", 2 * value, 2), 5))),
        "Exif as SRATIONAL": app1(exif(tiff(struct.pack(">ii", value, 1), 10, ">"))),
        "Exif as ASCII": app1(exif(tiff(f"{value}".encode() + b"\0", 2, count=2))),
        "Exif with two values": app1(exif(tiff(struct.pack("<HH", value, 9), count=2))),
        "Exif damaged behind it": app1(exif(short(value)[:8] + b"\xff\0" + short(value)[10:])),
        "Exif that ends with it": app1(exif(short(value)[:22])),
        "Exif behind XMP": app1(xmp(b"<a/>"), exif(short(value))),
        "Exif with its head twice": app1(exif(exif(short(value)))),
        "Exif with another filler": app1(b"Exif\0\xff" + short(value)),
        "Exif with 42 swapped <": app1(exif(b"II\0*" + short(value)[4:])),
        "Exif with 42 swapped >": app1(exif(b"MM*\0" + tiff(struct.pack(">H", value), 3, ">")[4:])),
        "Exif in two segments": app1(exif(short(value)[:8]), exif(short(value)[8:])),
        "XMP attribute": app1(xmp(attribute(value))),
        "XMP element": app1(xmp(element(value))),
        "XMP with padding": app1(xmp(b"<?xpacket begin=''?>" + element(value) + b" " * 500 + b"\0")),
        "XMP in lines": app1(xmp(element(value).replace(b"><", b">\n  <"))),
        "extended XMP": app1(xmp(b"<a/>"), more_xmp(attribute(value))),
        "extended XMP in pieces": app1(more_xmp(attribute(value)[40:], 40), more_xmp(attribute(value)[:40])),
        "both alike": app1(exif(short(value)), xmp(attribute(value))),
        "eXIf": with_chunk(b"eXIf", short(value)),
        "eXIf as LONG": with_chunk(b"eXIf", tiff(struct.pack(">I", value), 4, ">")),
        "eXIf with a head": with_chunk(b"eXIf", exif(short(value))),
        "eXIf with a head, >": with_chunk(b"eXIf", exif(tiff(struct.pack(">H", value), 3, ">"))),
        "eXIf with its head twice": with_chunk(b"eXIf", exif(exif(short(value)))),
        "eXIf with 42 swapped": with_chunk(b"eXIf", b"II\0*" + short(value)[4:]),
        "eXIf and a text": inserted(
            with_chunk(b"eXIf", short(value)), 33, chunk(b"tEXt", f"exif:Orientation\0{value}".encode())
        ),
        "eXIf behind the pixels": PNG[:-12] + chunk(b"eXIf", short(value)) + PNG[-12:],
        "iTXt": with_chunk(b"iTXt", packet_text(element(value))),
        "iTXt, compressed": with_chunk(b"iTXt", packet_text(attribute(value), packed=True)),
        "tEXt exif": with_chunk(b"tEXt", b"Raw profile type exif\0" + raw("exif", exif(short(value)))),
        "tEXt exif without a head": with_chunk(
            b"tEXt", b"Raw profile type exif\0" + raw("exif", tiff(struct.pack(">H", value), 3, ">"))
        ),
        "tEXt exif with its head twice": with_chunk(
            b"tEXt", b"Raw profile type exif\0" + raw("exif", exif(exif(short(value))))
        ),
        "zTXt exif": with_chunk(
            b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw("exif", exif(short(value))))
        ),
        "zTXt APP1": with_chunk(
            b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(raw("generic", exif(short(value))))
        ),
        "zTXt APP1 with XMP": with_chunk(
            b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(raw("app1", xmp(attribute(value))))
        ),
        "tEXt xmp": with_chunk(b"tEXt", b"Raw profile type xmp\0" + raw("xmp", attribute(value))),
    }


@pytest.mark.parametrize("value", range(1, 9))
def test_an_image_is_turned_wherever_and_however_its_file_says_so(value: int) -> None:
    for name, file in files_saying(value).items():
        plain = PNG if file.startswith(PNG[:8]) else JPEG
        assert np.array_equal(pixels_of(file), turned(plain, value)), name


@pytest.mark.parametrize("value", [0, 9, 255])
def test_a_value_without_a_meaning_turns_nothing(value: int) -> None:
    for file in (app1(exif(short(value))), app1(xmp(attribute(value))), with_chunk(b"eXIf", short(value))):
        plain = PNG if file.startswith(PNG[:8]) else JPEG
        assert np.array_equal(pixels_of(file), pixels_of(plain))


@pytest.mark.parametrize(
    "file",
    [
        app1(exif(short(6)), xmp(attribute(1))),
        app1(exif(short(6)), exif(short(8))),
        app1(xmp(attribute(3)), more_xmp(element(6))),
        app1(xmp(f'{HEAD}<r:Description {TIFF} t:Orientation="3"/>'.encode() + element(6)[len(HEAD) :])),
        inserted(with_chunk(b"eXIf", short(6)), 33, chunk(b"iTXt", packet_text(element(8)))),
        inserted(with_chunk(b"eXIf", short(1)), 33, chunk(b"tEXt", b"exif:Orientation\0006")),
        inserted(
            with_chunk(b"eXIf", short(6)), 33,
            chunk(b"tEXt", b"Raw profile type exif\0" + raw("exif", exif(short(1)))),
        ),
    ],
)  # fmt: skip
def test_places_that_contradict_each_other_are_refused(file: bytes) -> None:
    assert refused(file) == CONFLICTING


@pytest.mark.parametrize(
    "file",
    [
        app1(exif(tiff(b"\6\0", 7, count=2))),
        app1(exif(tiff(b"six\0", 2, count=4))),
        app1(exif(tiff(b"\xff6\0", 2, count=3))),
        app1(exif(tiff(struct.pack("<f", 6.5), 11))),
        app1(exif(tiff(struct.pack("<II", 6, 0), 5))),
        app1(exif(tiff(struct.pack("<H", 6), 3, count=0))),
        app1(exif(tiff(struct.pack("<d", 6), 12)[:-4])),
        app1(exif(tiff(b"6\0\0\0\0\0\0\0", 2, count=8)[:-4])),
        app1(exif(short(6)[:21])),
        app1(exif(short(6)[:14])),
        app1(exif(short(6)[:6])),
        app1(exif(short(6)[:8] + b"\2\0" + tiff(b"\1\0")[10:22].replace(b"\x12\1", b"\0\1"))),
        app1(exif(b"II*\0\xff\xff\xff\xff")),
        app1(exif(b"II*\0\x88\x13\0\0" + short(6)[8:])),
        app1(exif(b"II*\0" + bytes(4) + short(6)[8:])),
        app1(exif(b"II*\0" + tiff(struct.pack(">H", 6), 3, ">")[4:])),
        app1(exif(b"II\0\0" + short(6)[4:])),
        app1(exif(b"II+\0" + short(6)[4:])),
        app1(exif(b"no TIFF at all")),
        app1(exif(b"I*\0" + short(6)[4:]), exif(short(1))),
        with_chunk(b"eXIf", b"junkjunk"),
        with_chunk(b"tEXt", b"exif:Orientation\0006"),
        with_chunk(b"tEXt", b"tiff:Orientation\000upside down"),
        with_chunk(b"zTXt", b"Orientation\0\0" + zlib.compress(b"8")),
        with_chunk(b"iTXt", b"exif:orientation\0\0\0\0\0" + b"3"),
        with_chunk(b"tEXt", b"Raw profile type exif\0" + raw("exif", exif(short(6))).replace(b"32", b"10")),
        with_chunk(b"tEXt", b"Raw profile type exif\0" + raw("exif", exif(short(6))) + b"00"),
        with_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw("exif", b"\0" * 8))[:-6]),
        app1(xmp(attribute("six"))),
        app1(xmp(attribute(6)[:-20])),
        app1(xmp(b'<!DOCTYPE a [<!ENTITY b "6">]>' + attribute("&b;"))),
        app1(xmp(attribute(6).decode().encode("utf-16-le"))[:-3]),
        with_chunk(b"iTXt", packet_text(attribute(6))[:18] + b"\1\0\0\0 no stream"),
        with_chunk(b"tEXt", b"Raw profile type exif\0" + raw("exif", exif(short(6)))[:-20]),
        with_chunk(b"tEXt", b"Raw profile type exif\0 nothing of the kind"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(file: bytes) -> None:
    assert refused(file) == UNCLEAR


@pytest.mark.parametrize(
    "file",
    [
        app1(exif(short(6)[:8] + b"\0\0" + short(6)[10:])),
        app1(xmp(b"")),
        app1(xmp(b"<unclosed")),
        app1(xmp(f'{HEAD}<r:Description xmlns:t="urn:other" t:Orientation="6"/>{TAIL}'.encode())),
        app1(
            xmp(
                f"{HEAD}<r:Description xmlns:p='urn:p'><p:Pantry><r:Bag><r:li {TIFF} t:Orientation='6'/></r:Bag>"
                f"</p:Pantry></r:Description>{TAIL}".encode()
            )
        ),
        app1(exif(b"")),
        app1(exif(bytes(40))),
        with_chunk(b"eXIf", b""),
        with_chunk(b"tEXt", b"Orientation\0001"),
        with_chunk(b"tEXt", b"exif:Orientation\0000"),
        app1(b"http://ns.adobe.com/else/\0" + attribute(6)),
        with_chunk(b"tEXt", b"Comment\0Orientation 6"),
        with_chunk(b"tEXt", b"Raw profile type icc\0" + raw("icc", b"abc")),
    ],
)
def test_what_says_nothing_of_this_image_turns_nothing(file: bytes) -> None:
    plain = PNG if file.startswith(PNG[:8]) else JPEG
    assert np.array_equal(pixels_of(file), pixels_of(plain))


def test_a_text_that_unpacks_without_end_is_refused() -> None:
    file = with_chunk(b"iTXt", packet_text(b" " * (1 << 25), packed=True))
    assert refused(file) == UNCLEAR
