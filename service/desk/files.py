"""Files that come with a case: sent in base64, as bytes, or by the id of an upload of the caller's own tenant."""

import base64
import binascii
from uuid import UUID

from models.field_codes import FieldCode
from models.pipelines.parts import FILE_FORM
from service.accounts import Principal
from service.errors import BodyTooLarge, FieldError, InputInvalid
from service.images.owned import OwnedFile
from service.uploads import Uploads


class Files:
    """Takes files in, of up to `most_bytes`."""

    def __init__(self, uploads: Uploads, *, most_bytes: int) -> None:
        self._uploads = uploads
        self._most_bytes = most_bytes

    def sent(self, principal: Principal, value: object, pointer: str) -> OwnedFile | UUID:
        """The bytes of a file that was sent at `pointer`, or the id of its upload.

        Raises InputInvalid, UploadNotFound or BodyTooLarge.
        """
        if isinstance(value, bytes):
            return self._bounded(principal, value)
        if isinstance(value, dict) and value.keys() == {"data"} and isinstance(value["data"], str):
            return self._bounded(principal, _decoded(value["data"], pointer))
        if isinstance(value, dict) and value.keys() == {"upload_id"} and isinstance(value["upload_id"], str):
            return self._found(principal, _upload_id(value["upload_id"], pointer))
        raise InputInvalid(errors=(FieldError(pointer, FieldCode.WRONG_TYPE, FILE_FORM),))

    def content(self, principal: Principal, upload_id: UUID) -> OwnedFile:
        """The bytes of an upload."""
        return OwnedFile(b"".join(self._uploads.read(principal.tenant_id, upload_id)), principal.tenant_id)

    def _found(self, principal: Principal, upload_id: UUID) -> UUID:
        if self._uploads.size_bytes(principal.tenant_id, upload_id) > self._most_bytes:
            raise self._too_large()
        return upload_id

    def _bounded(self, principal: Principal, content: bytes) -> OwnedFile:
        if len(content) > self._most_bytes:
            raise self._too_large()
        return OwnedFile(content, principal.tenant_id)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The file of an input may have up to {self._most_bytes} bytes.")


def _decoded(text: str, pointer: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        hint = "Encode the file's bytes in base64 (RFC 4648, section 4)."
        raise InputInvalid(errors=(FieldError(f"{pointer}/data", FieldCode.NOT_BASE64, hint),)) from None


def _upload_id(text: str, pointer: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        hint = "Send the id that the upload was answered with."
        raise InputInvalid(errors=(FieldError(f"{pointer}/upload_id", FieldCode.NOT_A_UUID, hint),)) from None
