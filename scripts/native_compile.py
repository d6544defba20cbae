"""What scripts/native.py runs to compile: mypyc writes C from the sources, setuptools calls the compiler.

It has a process of its own, as both work in the present directory and print what they like. The task comes as JSON
on its input: `root`, where `package` lies; `sources`, which of its modules; `work`, for C and object files;
`target`, for the native modules; `configuration`, mypy's; `toolchain`, what tells one compiler from another.
"""

import environment  # noqa: F401 - stands first: it turns away a Python that is too old

# isort: split
import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import setuptools  # stands before mypyc: it brings the distutils that mypyc looks for
from mypyc.build import mypycify
from setuptools.command.build_ext import build_ext

import whole

OPTIMIZE = "2"
CORES = os.cpu_count() or 1


def main() -> None:
    task = json.load(sys.stdin)
    work = Path(task["work"])
    work.mkdir(parents=True, exist_ok=True)
    # One whose parent was killed may still be at it.
    with whole.holding(work / "compiling", "An earlier compilation goes on"):
        put_sources(Path(task["root"]), work, task["package"])
        build(task)


def build(task: dict[str, Any]) -> None:
    # So that C files, and tracebacks, name "chatgpt_platform/gateway/gateway.py"; all that follows is relative.
    os.chdir(task["work"])
    shutil.rmtree("c", ignore_errors=True)
    extensions: list[Any] = mypycify(
        [
            "--config-file",
            task["configuration"],
            # A build is no check: the other modules may need stubs that are not here, or other systems' names.
            "--follow-imports=silent",
            "--no-warn-unused-ignores",
            "--no-warn-unreachable",
            "--cache-dir",
            os.devnull,
            *task["sources"],
        ],
        opt_level=OPTIMIZE,
        debug_level="0",
        strip_asserts=True,  # as in the executable's other modules
        multi_file=True,
        group_name=task["package"],
        target_dir="c",
    )
    for extension in extensions:
        extension.extra_compile_args += more_options()
        extension.extra_link_args += more_link_options()
    setuptools.setup(
        name=task["package"],
        packages=[],
        ext_modules=extensions,
        cmdclass={"build_ext": OnAllCores},
        options={
            "build_ext": {
                "build_lib": task["target"],
                "build_temp": "objects",
                "parallel": str(CORES),
                "toolchain": task["toolchain"],
            }
        },
        script_args=["--quiet", "build_ext"],
    )


def put_sources(root: Path, work: Path, package: str) -> None:
    """A copy of the package's sources in `work`: mypy and setuptools look at what lies around them."""
    shutil.rmtree(work / package, ignore_errors=True)
    shutil.copytree(root / package, work / package, ignore=shutil.ignore_patterns("__pycache__"))


def more_options() -> list[str]:
    """What goes behind mypyc's own options."""
    if os.name == "nt":
        return []
    # Another compiler's warning is no error. The modules' functions call each other directly, not by their names.
    return ["-w", "-Wno-error", "-fvisibility=hidden"]


def more_link_options() -> list[str]:
    """What goes behind setuptools' own options."""
    return ["/Brepro"] if os.name == "nt" else []  # there the time would stand in the library


class OnAllCores(build_ext):
    """Compiles the C files of an extension beside each other; those that are as they were last time are not."""

    user_options = [*build_ext.user_options, ("toolchain=", None, "what else an object file depends on")]  # noqa: RUF012

    def initialize_options(self) -> None:
        super().initialize_options()
        self.toolchain = ""

    def build_extensions(self) -> None:
        if hasattr(self.compiler, "initialize"):
            self.compiler.initialize()  # that of Windows would do it at its first use, which are several
        compile_some = self.compiler.compile
        headers = b"".join(file.read_bytes() for file in sorted(Path("c").rglob("*.h")))

        def compile_one(source: str, options: dict[str, Any]) -> list[str]:
            (made,) = self.compiler.object_filenames([source], output_dir=options["output_dir"])
            key = hashlib.sha256(headers + Path(source).read_bytes())
            key.update(f"{self.toolchain} {options}".encode())
            note = Path(f"{made}.key")
            if Path(made).exists() and note.exists() and note.read_text("ascii") == key.hexdigest():
                return [made]
            note.unlink(missing_ok=True)
            compile_some([source], **options)
            note.write_text(key.hexdigest(), "ascii")
            return [made]

        with ThreadPoolExecutor(CORES) as pool:

            def compile_all(sources: list[str], **options: Any) -> list[str]:
                each = pool.map(compile_one, sources, [options] * len(sources))
                return [made for several in each for made in several]

            self.compiler.compile = compile_all
            super().build_extensions()


if __name__ == "__main__":
    main()
