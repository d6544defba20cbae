"""Compiles the inner packages to native modules, with mypyc, for the executable and for bench.py.

    python3 scripts/native.py        makes build/native/: a copy of chatgpt_platform/ that holds native modules

With build/native/ first on the path, Python finds each native module beside its source and takes it. A checkout
runs the plain sources; they are the same program, and `scripts/test.py --native` tests it natively.

What is compiled is said by `PACKAGES` and `INTERPRETED`. What was compiled before is kept for as long as it is of
these sources, by this compiler; of changed ones only the C files that came out differently are compiled again. The
same sources give the same bytes, wherever the checkout lies. Needs a C compiler and Python's headers.
"""

import environment  # stands first: it turns away a Python that is too old

# isort: split
import hashlib
import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import whole

PACKAGE = "chatgpt_platform"

# What a call passes through: these packages, and of others these modules, but for those that are named below.
PACKAGES = (
    *("access", "accounts", "errors", "gateway", "limits", "upstream", "wire"),
    *("observe/access", "observe/metrics"),
    *("web/course", "web/reception", "web/service", "web/transaction"),
)

# Compiled, these would not work, or not as they do; each with its reason.
INTERPRETED = {
    "accounts/used": "msgspec reads the annotations of its class",
    "gateway/shapes": "msgspec reads the annotations of its classes",
    "limits/saved": "msgspec reads the annotations of its class",
    "upstream/faults": "a class of its own is an OSError",
}

# Nothing that is compiled imports these (the import contracts): a change of theirs compiles nothing again.
OUTSIDE = ("__main__.py", "cli", "simulator")

BUILD = environment.ROOT / "build"
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
NO_HEADERS = "Python's headers are missing; on Debian and Ubuntu: apt install python3-dev"
CHILD = Path(__file__).with_name("native_compile.py")

# What decides on the C besides the sources and mypyc: mypy's settings, and which packages' types it reads.
DECIDING = (environment.ROOT / "pyproject.toml", environment.ROOT / "packaging" / "locks" / "build.txt")


class NativeError(Exception):
    """The modules cannot be compiled; the text is one line for the user, with the way out."""


@dataclass(frozen=True)
class Plan:
    """What is compiled of the package in `root`, and where the results go: `folder`, made anew when it changes."""

    root: Path = environment.ROOT
    folder: Path = BUILD / "native"
    package: str = PACKAGE
    packages: tuple[str, ...] = PACKAGES
    interpreted: Mapping[str, str] = field(default_factory=lambda: INTERPRETED)
    outside: tuple[str, ...] = OUTSIDE

    @property
    def work(self) -> Path:
        """Where it is compiled; what lies there saves time, and may be removed."""
        return self.folder.with_name(f"{self.folder.name}-work")

    def files(self) -> list[Path]:
        """All files of the package, relative to `root`."""
        found = (self.root / self.package).rglob("*")
        return sorted(
            file.relative_to(self.root) for file in found if file.is_file() and "__pycache__" not in file.parts
        )

    def sources(self) -> list[Path]:
        """The modules that are compiled, relative to `root`; a package's __init__ holds but its docs.

        Raises NativeError for an exception that is none.
        """
        modules = {_name(file): file for file in self.files() if file.suffix == ".py"}
        if strange := set(self.interpreted) - set(modules):
            raise NativeError(f"INTERPRETED in scripts/native.py names {min(strange)}, which is no module")
        return [
            file
            for name, file in modules.items()
            if {name, name.partition("/")[0]} & {*self.packages}
            and name not in self.interpreted
            and file.stem != "__init__"
        ]


def _name(file: Path) -> str:
    """What a module is called here: "gateway/heads" for the package's gateway/heads.py."""
    return file.relative_to(file.parts[0]).with_suffix("").as_posix()


def main() -> int:
    environment.enter("dev")
    try:
        folder = make()
    except NativeError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    print(f"{folder.relative_to(environment.ROOT)}: {len(Plan().sources())} native modules")
    return 0


def make(plan: Plan | None = None) -> Path:
    """Gives the folder that goes first on the path, made or as it was. Raises NativeError.

    Needs the packages of the lock `build` or `dev`. Of several at once the first one makes it, the others wait.
    """
    plan = plan or Plan()
    try:
        if whole.stamp_of(plan.folder) != _of_all(plan):
            plan.work.mkdir(parents=True, exist_ok=True)
            with whole.holding(plan.work / "lock", "The native modules are being compiled already"):
                _make(plan)
    except (OSError, whole.FolderError) as error:
        raise NativeError(f"the native modules cannot be made: {error}") from None
    return plan.folder


def _make(plan: Plan) -> None:
    if whole.stamp_of(plan.folder) == _of_all(plan):
        return  # by now
    modules = plan.work / "modules"
    if whole.stamp_of(modules) != _of_modules(plan):
        if missing := what_is_missing():
            raise NativeError(missing)
        print("Compiling the native modules ...", flush=True)
        with whole.made(modules, lambda: _of_modules(plan)) as beside:
            _compile(plan, beside)
    with whole.made(plan.folder, lambda: _of_all(plan)) as beside:
        for file in plan.files():
            (beside / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(plan.root / file, beside / file)
        shutil.copytree(modules, beside, dirs_exist_ok=True, ignore=shutil.ignore_patterns(whole.STAMP))


def files_of(folder: Path) -> dict[str, Path]:
    """The native modules in the folder that `make` gave, and the library that holds them all: name -> file."""
    files = {file.relative_to(folder): file for file in sorted(folder.rglob(f"*{SUFFIX}"))}
    return {".".join(file.with_name(file.name.removesuffix(SUFFIX)).parts): files[file] for file in files}


def what_is_missing() -> str:
    """What this machine lacks to compile, as one line each; empty when it lacks nothing."""
    lines = []
    if os.name == "posix":
        if not _compiler():
            lines.append("the C compiler is missing; on Debian and Ubuntu: apt install gcc libc6-dev")
        if not has_headers():
            lines.append(NO_HEADERS)
    elif not _has_build_tools():
        lines.append("the C compiler is missing: install Microsoft's Build Tools for Visual Studio, with C++")
    return "\n".join(lines)


def has_headers() -> bool:
    """Whether Python's own C headers are there: Debian has them in a package of their own."""
    return Path(sysconfig.get_path("include"), "Python.h").is_file()


def _compiler() -> list[str]:
    """The command that compiles, if it is no Windows: $CC, else what Python was made with; [] if none is there."""
    wanted = [os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"]
    commands = (shlex.split(command or "") for command in wanted)
    return next((command for command in commands if command and shutil.which(command[0])), [])


def _has_build_tools() -> bool:
    # Only in the environment, and it takes its time.
    from setuptools._distutils import ccompiler, errors  # noqa: PLC0415

    try:
        ccompiler.new_compiler().initialize()
    except errors.DistutilsPlatformError:
        return False
    return True


def _concerns(plan: Plan, file: Path) -> bool:
    """Whether a change of the file could make another native module; types that are imported count too."""
    return file.suffix == ".py" and file.parts[1] not in plan.outside


def _of_modules(plan: Plan) -> str:
    """The digest of what native modules are made from."""
    return _digest(plan, (file for file in plan.files() if _concerns(plan, file)))


def _of_all(plan: Plan) -> str:
    return _digest(plan, plan.files())


def _digest(plan: Plan, files: Iterable[Path]) -> str:
    """Of the files, of what is compiled of them, by which versions, and how."""
    described = {
        "deciding": [hashlib.sha256(file.read_bytes()).hexdigest() for file in DECIDING],
        "files": {file.as_posix(): hashlib.sha256((plan.root / file).read_bytes()).hexdigest() for file in files},
        "compiled": [file.as_posix() for file in plan.sources()],
        "by": _toolchain(),
    }
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _toolchain() -> dict[str, object]:
    """What the bytes depend on besides the sources."""
    return {
        "packages": [importlib.metadata.version(name) for name in ("mypy", "setuptools")],
        "python": [sys.version, SUFFIX],
        "compiler": _compiler_version(),
        "flags": {name: os.environ.get(name) for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED")},
        "script": hashlib.sha256(CHILD.read_bytes()).hexdigest(),
    }


def _compiler_version() -> str:
    if os.name != "posix" or not _compiler():
        return ""
    return subprocess.run([*_compiler(), "--version"], capture_output=True, text=True, check=False).stdout


def _task(plan: Plan, target: Path) -> str:
    """What scripts/native_compile.py is given."""
    task = {
        "root": str(plan.root),
        "work": str(plan.work),
        "target": str(target),
        "package": plan.package,
        "sources": [file.as_posix() for file in plan.sources()],
        "toolchain": json.dumps(_toolchain()),
        "configuration": str(environment.ROOT / "pyproject.toml"),
    }
    return json.dumps(task)


def _compile(plan: Plan, target: Path) -> None:
    """Leaves the native modules of the package in `target`, in the package's layout."""
    # Twice with the same sources gives the same C: sets of texts would come in another order each time.
    given = {"PYTHONHASHSEED": "1", "PYTHONPATH": "", "MYPYPATH": ""}
    if os.name == "posix":
        given["CC"] = shlex.join(_compiler())
    done = subprocess.run(
        [sys.executable, str(CHILD)],
        env=os.environ | given,
        input=_task(plan, target),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        print("\n".join(line for line in lines if ": warning: " not in line), file=sys.stderr)
        raise NativeError(
            "the native modules could not be compiled, see above; mend the module, or name it in INTERPRETED "
            "(scripts/native.py)"
        )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
