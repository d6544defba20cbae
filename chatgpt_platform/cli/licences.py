"""What installed distributions say of their licences: for ``version --licenses``, and for the build's notices."""

from __future__ import annotations

import re
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"(?:licen[cs]e|copying|notice|authors|copyright)\b.*", re.IGNORECASE)
_CLASSIFIER: Final = "License :: OSI Approved :: "
_LONGEST_NAME: Final = 200  # the field "License" may hold a whole text, which then stands in a file as well


def expression(distribution: Distribution) -> str:
    """The licence in a few words, an SPDX expression where there is one; "" where the metadata has none."""
    fields = distribution.metadata
    for field in ("License-Expression", "License"):
        value = fields.get_all(field, [""])[0].strip()
        if value and "\n" not in value and len(value) <= _LONGEST_NAME:
            return value
    classifiers = fields.get_all("Classifier", [])
    return " OR ".join(text.removeprefix(_CLASSIFIER) for text in classifiers if text.startswith(_CLASSIFIER))


def texts(distribution: Distribution) -> list[tuple[str, str]]:
    """The licence files of a distribution, each as its name and its text, in the order of their names."""
    found = []
    for file in distribution.files or ():
        inside = file.parts[1:]
        # ".dist-info/licenses/" holds nothing else; older packages have their files beside METADATA.
        if file.parts[0].endswith(".dist-info") and (inside[0] == "licenses" or _NAME.fullmatch(inside[-1])):
            name = "/".join(inside).removeprefix("licenses/")
            found.append((name, Path(file.locate()).read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")))
    return sorted(found)
