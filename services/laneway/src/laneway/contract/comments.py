"""What a contract's authors wrote about it.

Generated descriptors have no comments: protoc drops them. The plugin, which is given them, writes them beside the
generated code as `<name>_comments.json`, by full name; the values of an enum under their enum's.
"""

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from laneway.contract.elements import elements

SUFFIX = "_comments.json"

IGNORE = "laneway:ignore"
"""What is said to the linter is said to nobody else."""

_PACKAGE = (2,)
"""Where a package stands in its file: what is said there is said of the file, and kept under its name."""


class Comments:
    """Comments by full name."""

    def __init__(self, files: Iterable[FileDescriptor]) -> None:
        """Reads what was generated with the files; those of other origin have none."""
        self._texts: dict[str, str] = {}
        for file in files:
            self._texts |= _beside(file)

    def of(self, name: str) -> str:
        """The comment on what has this full name; empty where there is none."""
        return self._texts.get(name, "")


def _beside(file: FileDescriptor) -> dict[str, str]:
    module = file.name.removesuffix(".proto").replace("-", "_").replace("/", ".") + "_pb2"
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        return {}
    known = Path(spec.origin.removesuffix("_pb2.py") + SUFFIX)
    texts: dict[str, str] = json.loads(known.read_text()) if known.is_file() else {}
    return texts


def comments_of(file: FileDescriptorProto) -> dict[str, str]:
    """The comments in a file that has its source info, by full name."""
    names = {_PACKAGE: file.name, **dict(elements(file))}
    texts = {}
    for place in file.source_code_info.location:
        name, text = names.get(tuple(place.path)), _flowing(place.leading_comments or place.trailing_comments)
        if name is not None and text:
            texts[name] = text
    return texts


def _flowing(comment: str) -> str:
    """Lines of one paragraph become one; an empty line begins another."""
    lines = [line.strip() for line in comment.strip().splitlines() if IGNORE not in line]
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in "\n".join(lines).split("\n\n")).strip()
