"""Completes what cyclonedx-py found in an environment with what lies under it in an image: `make sbom`.

python requirements/sbom.py build/sbom.json services/Dockerfile
"""

import json
import re
import sys
from pathlib import Path
from typing import Any


def completed(found: dict[str, Any], dockerfile: str) -> dict[str, Any]:
    """The document with the image that the Dockerfile begins from, which brings the interpreter."""
    [(name, tag)] = re.findall(r"^ARG PYTHON_IMAGE=([\w./-]+):([\w.-]+)$", dockerfile, re.MULTILINE)
    base = {
        "type": "container",
        "bom-ref": f"{name}:{tag}",
        "name": name,
        "version": tag,
        "purl": f"pkg:docker/{name}@{tag}",
        "description": "The base image: the interpreter and Debian's packages, which are not listed one by one.",
    }
    return {**found, "components": [*map(_anywhere, found["components"]), base]}


def _anywhere(component: dict[str, Any]) -> dict[str, Any]:
    """Without where on this machine the sources of our own lay."""
    references = [each for each in component.get("externalReferences", ()) if not each["url"].startswith("file:")]
    return {key: value for key, value in component.items() if key != "externalReferences"} | (
        {"externalReferences": references} if references else {}
    )


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(
        json.dumps(completed(json.loads(document.read_text()), Path(sys.argv[2]).read_text()), indent=2)
    )
