"""The rules for artifacts of an answer, so that they can be listed, stored and downloaded by name."""

import re

from models.pipelines.contract import Answer

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# RFC 6838, 4.2, in lower case and without parameters.
MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
LISTING = "artifacts"  # the property of a result that lists them


def artifacts_fault(answer: Answer) -> str | None:
    """Why the artifacts of an answer cannot be accepted; None if they can. Contains neither names nor content."""
    if LISTING in answer.result:
        return f"the result has a property {LISTING}, in which artifacts are listed: choose another name"
    if not answer.artifacts:
        return None
    for number, artifact in enumerate(answer.artifacts, start=1):
        if not NAME.fullmatch(artifact.name):
            return f"an artifact has another name than {NAME.pattern}"
        if not MEDIA_TYPE.fullmatch(artifact.media_type):
            return f"the media type of artifact {number} is no type/subtype in lower case"
        if not isinstance(artifact.content, bytes):
            return f"the content of artifact {number} is no bytes"
    several = len({artifact.name for artifact in answer.artifacts}) < len(answer.artifacts)
    return "several artifacts have the same name" if several else None


def answer_fault(answer: Answer) -> str | None:
    """Why an answer cannot be accepted; None if it can. What it answers is checked where it is written as JSON."""
    if not isinstance(answer.result, dict):
        return "the result is no object: return a dict"
    return artifacts_fault(answer)
