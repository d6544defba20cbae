"""The bill of materials of an executable: CycloneDX 1.6, as JSON. The build calls `bom`.

It holds what `scripts/notices.py` prints notices of, with versions: the frozen distributions, the Rust crates
compiled into them, Python with the C libraries inside it, PyInstaller's loader, and the shared libraries with
the Debian packages they come from. The same inputs give the same text, to the byte.
"""

import hashlib
import os
import platform
import re
import shutil
import sqlite3
import ssl
import subprocess
import tomllib
import uuid
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution
from pathlib import Path
from pyexpat import EXPAT_VERSION

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement

import environment
import notices
from chatgpt_platform.cli import licences

# The names that vulnerability databases know; where Python does not tell its copy's version there is none.
VERSIONS = {
    "openssl": ssl.OPENSSL_VERSION.split()[1],
    "zlib": zlib.ZLIB_RUNTIME_VERSION,
    "sqlite": sqlite3.sqlite_version,
    "expat": EXPAT_VERSION.removeprefix("expat_"),
}
LOADER = "pyinstaller"


def bom(distributions: Iterable[str], libraries: Iterable[str | Path], version: str, commit: str) -> str:
    """The bill of materials of version `version`, built from `commit`, as JSON.

    `distributions`: the names of those that are frozen, installed in this environment. `libraries`: the shared
    libraries in the bundle, as the build found them: a path that exists gets a hash and, on Debian, a package,
    else the version that this Python runs with; of extension modules only the distributions count. Raises
    notices.NoticeError for what is not installed or has no notice.
    """
    found = [notices.installed(name) for name in sorted({*distributions} - {LOADER})]
    names = [one.name for one in found]
    application = Component(
        name="chatgpt-platform",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref="chatgpt-platform",
        licenses=_licences("GPL-3.0-or-later"),
        properties=[Property(name="commit", value=commit), Property(name="platform", value=platform_name())],
    )
    python, loader = _python(), _distribution(notices.installed(LOADER))
    components = {one.name: _distribution(one) for one in found}
    inside = [_part(name) for name in sorted(notices.built_in_families())]
    files = [_library(Path(library), names) for library in sorted({str(library) for library in libraries})]
    shared = {str(one.bom_ref): one for one in files if one is not None}
    crates = {str(crate.bom_ref): crate for one in found for crate in _crates(one)}

    made = Bom(components=[*components.values(), python, loader, *inside, *shared.values(), *crates.values()])
    made.metadata = BomMetaData(component=application, timestamp=_timestamp(commit))
    needed = _direct(found)
    parts = [components[one.name] for one in found if one.name in notices.PARTS]
    made.register_dependency(application, [python, loader, *parts, *(components[name] for name in needed)])
    made.register_dependency(python, [*inside, *shared.values()])
    for one in found:
        used = [components[name] for name in _required(one.requires or (), names)]
        made.register_dependency(components[one.name], [*used, *(crates[ref] for ref in _crate_references(one))])
    contents = [*(str(component.bom_ref) for component in made.components), version, commit, platform_name()]
    made.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(sorted(contents)))
    output = make_outputter(made, OutputFormat.JSON, SchemaVersion.V1_6)
    return output.output_as_string(indent=2) + "\n"


def platform_name() -> str:
    """System and processor, such as "linux-x86_64"."""
    return f"{platform.system()}-{platform.machine()}".lower()


def debian_package(library: Path) -> tuple[str, str] | None:
    """The Debian package that a file comes from and the package's version; None elsewhere."""
    dpkg = shutil.which("dpkg-query")
    if dpkg is None:
        return None
    # dpkg knows a file by the one name it was packed under, with or without the /usr before it.
    candidates = [str(library), f"/usr{library}", str(library).removeprefix("/usr"), str(library.resolve())]
    for candidate in candidates:
        asked = subprocess.run([dpkg, "--search", candidate], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            package = asked.stdout.partition(": ")[0].partition(",")[0]
            shown = subprocess.run(
                [dpkg, "--show", "--showformat=${Version}", package], capture_output=True, text=True, check=False
            )
            if shown.returncode == 0:
                return package.partition(":")[0], shown.stdout.strip()
    return None


def _distribution(one: Distribution) -> Component:
    purl = PackageURL("pypi", None, re.sub(r"[-_.]+", "-", one.name).lower(), one.version)
    return Component(
        name=one.name,
        version=one.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        licenses=_licences(licences.expression(one)),
        description=one.metadata["Summary"],
    )


def _python() -> Component:
    purl = PackageURL("generic", None, "python", platform.python_version())
    return Component(
        name="python",
        version=platform.python_version(),
        type=ComponentType.PLATFORM,
        bom_ref=str(purl),
        purl=purl,
        licenses=_licences("PSF-2.0"),
    )


def _part(family: str) -> Component:
    """A C library that stands inside Python itself."""
    purl = PackageURL("generic", None, family, VERSIONS.get(family))
    return Component(name=family, version=VERSIONS.get(family), bom_ref=f"python#{family}", purl=purl)


def _library(library: Path, distributions: Iterable[str]) -> Component | None:
    """A shared library; None for what a distribution or Python accounts for."""
    if notices.is_extension(library.name) or not (family := notices.family(library.name, distributions)):
        return None
    hashes, package = [], None
    if library.is_absolute() and library.is_file():
        digest = hashlib.sha256(library.read_bytes()).hexdigest()
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
        package = debian_package(library)
    purl = (
        PackageURL("deb", platform.freedesktop_os_release()["ID"], *package)
        if package
        else PackageURL("generic", None, family, VERSIONS.get(family))
    )
    return Component(
        name=library.name,
        version=package[1] if package else VERSIONS.get(family),
        bom_ref=f"file:{library.name}",
        purl=purl,
        hashes=hashes,
        # The build strips symbols from what it bundles.
        properties=[Property(name="hash of", value="the file before it was stripped")] if hashes else [],
    )


def _crates(one: Distribution) -> Iterator[Component]:
    for crate, reference in zip(notices.crates(one), _crate_references(one), strict=True):
        hashes = crate.get("hashes", [])
        yield Component(
            name=crate["name"],
            version=crate["version"],
            bom_ref=reference,
            purl=PackageURL("cargo", None, crate["name"], crate["version"]),
            licenses=_licences(notices.licence_of(crate)),
            hashes=[HashType(alg=HashAlgorithm(entry["alg"]), content=entry["content"]) for entry in hashes],
        )


def _crate_references(one: Distribution) -> list[str]:
    return [f"pkg:cargo/{crate['name']}@{crate['version']}" for crate in notices.crates(one)]


def _licences(expression: str) -> list[License]:
    return [LicenseFactory().make_from_string(expression)] if expression else []


def _direct(found: list[Distribution]) -> list[str]:
    """Which of the distributions the project itself asks for."""
    project = tomllib.loads((environment.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return _required(project["dependencies"], [one.name for one in found])


def _required(requirements: Iterable[str], names: Iterable[str]) -> list[str]:
    """Those of `names` that the requirements call for on this platform, without extras."""
    wanted = set()
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            wanted.add(notices.canonical(requirement.name))
    return sorted(name for name in names if notices.canonical(name) in wanted)


def _timestamp(commit: str) -> datetime:
    """When this was built, as far as a repeated build can say the same: SOURCE_DATE_EPOCH, else the commit's
    time, else now."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or _time_of(commit)
    return datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)


def _time_of(commit: str) -> str:
    git = shutil.which("git")
    # scripts/build.py marks a commit that has changes on top.
    commit = commit.removesuffix("-changed")
    if git is None or not re.fullmatch("[0-9a-f]{7,64}", commit):
        return ""
    asked = subprocess.run(
        [git, "-C", str(environment.ROOT), "show", "--no-patch", "--format=%ct", commit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return asked.stdout.strip() if asked.returncode == 0 else ""
