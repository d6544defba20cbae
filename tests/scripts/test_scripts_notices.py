"""The notices of a build: everything has one, and nothing goes without."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

import environment
import notices

LINUX = [
    "libpython3.11.so.1.0", "libcrypto.so.3", "libssl.so.3", "libz.so.1", "libffi.so.8", "liblzma.so.5",
    "libbz2.so.1.0", "libuuid.so.1", "libexpat.so.1", "libsqlite3.so.0", "libmpdec.so.3", "libgcc_s.so.1",
    "libstdc++.so.6", "libreadline.so.8", "libncursesw.so.6", "libtinfo.so.6",
]  # fmt: skip
WINDOWS = [
    "libcrypto-3.dll", "libssl-3-x64.dll", "libcrypto-3-arm64.dll", "libffi-8.dll", "sqlite3.dll",
    "vcruntime140.dll", "vcruntime140_1.dll", "python311.dll", "python3.dll", "ucrtbase.dll", "MSVCP140.dll",
    "zlib1.dll", "mfc140u.dll", "api-ms-win-crt-runtime-l1-1-0.dll",
]  # fmt: skip


@pytest.fixture(scope="module")
def frozen() -> list[str]:
    """The distributions of the run lock that are installed here: what a build freezes."""
    pins = re.findall(
        r"^([\w.-]+)==", (environment.ROOT / "packaging/locks/run.txt").read_text("utf-8"), re.MULTILINE
    )
    return [name for name in pins if is_installed(name)]


def is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The dist-info folder of a distribution "odd-one", which a test fills."""
    folder = tmp_path / "odd_one-1.0.dist-info"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    write(folder, {"METADATA": "Metadata-Version: 2.1\nName: odd-one\nVersion: 1.0\nLicense: MIT\n"})
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    listed = [f"{file.relative_to(folder.parent).as_posix()},," for file in folder.rglob("*") if file.is_file()]
    (folder / "RECORD").write_text("\n".join(listed) + "\n", "utf-8")


def test_everything_that_is_frozen_has_its_notice(frozen: list[str]) -> None:
    assert "tornado" in frozen
    text = notices.collect(frozen, LINUX)
    assert text.index("GNU GENERAL PUBLIC LICENSE") < text.index("\ntornado 6.")
    for name in frozen:
        found = distribution(name)
        assert f"\n{found.name} {found.version}, " in text
    for part in (
        "The PyInstaller licensing terms", "PYTHON SOFTWARE FOUNDATION LICENSE", "The OpenSSL Project Authors",
        "Jean-loup Gailly", "Lasse Collin", "GCC RUNTIME LIBRARY EXCEPTION",
        "Kirill Simonov", "libuv project contributors", "The Wuffs Authors", "Fedor Indutny",
        "UNICODE LICENSE V3", "LLVM Exceptions to the Apache 2.0 License", "ahash ",
    ):  # fmt: skip
        assert part in text, part


def test_of_what_is_there_in_part_the_notice_says_which() -> None:
    text = notices.collect(["mypy"], [])
    assert f"mypy {notices.installed('mypy').version} (what native modules hold of mypyc)" in text
    assert "Jukka Lehtosalo" in text
    assert "typeshed:" not in text, "its stubs are not in there"
    assert "mypy" not in notices.collect(["tornado"], [])


def test_the_same_input_gives_the_same_text_whatever_its_order(frozen: list[str]) -> None:
    assert notices.collect(reversed(frozen), reversed(LINUX)) == notices.collect(frozen, LINUX)


def test_a_text_is_printed_once(package: Path) -> None:
    write(package, {"licenses/A": "the very same\n", "licenses/B": "the very same"})
    text = notices.collect(["odd-one"], [])
    assert text.count("the very same") == 1
    assert "\nodd-one: B\n" in text
    assert 'The same text as under "odd-one 1.0, MIT".' in text


@pytest.mark.parametrize("library", [*LINUX, *WINDOWS])
def test_each_library_that_builds_bundle_has_a_notice(library: str) -> None:
    name = notices.family(library, ())
    assert (notices.NOTICES / f"{name}.txt").read_text("utf-8").strip()


def test_no_notice_is_missing_and_none_lies_about() -> None:
    named = {*notices.LIBRARIES.values(), *notices.MODULES.values(), "python-parts"}
    named.update(name for names in notices.VENDORED.values() for name in names)
    assert named == {file.stem for file in notices.NOTICES.glob("*.txt")}


@pytest.mark.parametrize("library", ["libfoo.so.1", "lib/libzstd.so.1", "foo-1.dll", "libz.1", "liblzma.txt"])
def test_a_library_without_a_notice_is_named(library: str) -> None:
    with pytest.raises(notices.NoticeError, match=f"^{re.escape(Path(library).name)} is bundled, and scripts/"):
        notices.collect([], [library])


@pytest.mark.parametrize(
    ("library", "stem"),
    [
        ("libbz2.so.1.0", "libbz"),
        ("libdb-5.3.so", "libdb"),
        ("liblzma-13fa198c.so.5.4.5", "liblzma"),
        ("libssl-3-x64.dll", "libssl"),
        ("vcruntime140_1.dll", "vcruntime"),
    ],
)
def test_versions_are_no_part_of_a_stem(library: str, stem: str) -> None:
    assert notices.stem(library) == stem


@pytest.mark.parametrize(
    ("module", "family"),
    [
        ("_ssl.cpython-311-x86_64-linux-gnu.so", "openssl"),
        ("_bz2.pyd", "bzip2"),
        ("_decimal.cp311-win_amd64.pyd", "mpdecimal"),
        ("readline.cpython-311-x86_64-linux-gnu.so", ""),  # the library beside it has the notice
        ("loop.cpython-311-x86_64-linux-gnu.so", ""),
        ("speedups.abi3.so", ""),
    ],
)
def test_modules_bring_the_notices_of_what_is_inside_them(module: str, family: str) -> None:
    assert notices.family(module, ()) == family


def test_a_python_in_one_file_needs_the_notices_of_what_is_built_in() -> None:
    assert notices.built_in_families(["_ssl", "_io", "readline", "zlib"]) == {"openssl", "libedit", "zlib"}


def test_a_library_of_a_distribution_needs_that_distribution() -> None:
    assert notices.family("pywintypes311.dll", ["pywin32"]) == ""
    with pytest.raises(notices.NoticeError, match=r"^pywintypes311\.dll is bundled"):
        notices.family("pywintypes311.dll", [])


def test_a_distribution_that_is_not_installed_is_named() -> None:
    with pytest.raises(notices.NoticeError, match=r"^no-such-thing is bundled, yet not installed"):
        notices.collect(["no-such-thing"], [])


def test_a_distribution_without_a_licence_file_is_named(package: Path) -> None:
    with pytest.raises(notices.NoticeError, match=r"^odd-one is bundled without a licence file"):
        notices.collect(["Odd_One"], [])


def test_licence_files_of_old_and_new_packages_are_found(package: Path) -> None:
    write(package, {"LICENSE.txt": "the one\r\n", "licenses/vendor/README": "the other", "entry_points.txt": "no"})
    text = notices.collect(["odd-one"], [])
    assert "\nodd-one 1.0, MIT\n" in text
    assert "\nthe one\n" in text
    assert "\nodd-one: vendor/README\n" in text
    assert "\nthe other\n" in text


def test_the_licence_of_a_crate_must_be_there(package: Path) -> None:
    crate = '{"components": [{"name": "c", "version": "1", "purl": "pkg:cargo/c@1", "licenses": [%s]}]}'
    write(package, {"LICENSE": "x", "sboms/odd.json": crate % '{"expression": "MIT AND Strange-1.0"}'})
    with pytest.raises(notices.NoticeError, match=r"no text of Strange-1\.0 is in packaging/notices/spdx"):
        notices.collect(["odd-one"], [])
    write(package, {"sboms/odd.json": crate % ""})
    with pytest.raises(notices.NoticeError, match="the crate c is bundled, and its list names no licence"):
        notices.collect(["odd-one"], [])


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("MIT", ["MIT"]),
        ("Apache-2.0 OR MIT", ["MIT"]),
        ("MIT/Apache-2.0", ["MIT"]),
        ("Unlicense OR Apache-2.0", ["Apache-2.0"]),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", ["MIT", "Unicode-3.0"]),
        ("Apache-2.0 WITH LLVM-exception", ["Apache-2.0-WITH-LLVM-exception"]),
    ],
)
def test_one_licence_is_taken_where_there_is_a_choice(expression: str, names: list[str]) -> None:
    assert notices.chosen(expression) == names
