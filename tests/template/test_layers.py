"""The layers as `sam build` makes them."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from importlib.util import source_hash
from pathlib import Path

import certifi
import pytest

from tests.template.translation import ROOT, of_type, written

MACHINES = {62: "x86_64", 183: "aarch64"}  # of ELF
MIB = 1024 * 1024
LAMBDA_RUNTIME = (
    "boto3",
    "botocore",
    "dateutil",
    "jmespath",
    "s3transfer",
    "six.py",
    "urllib3",
)
AMAZON_ROOTS = ROOT / "layers/batch_core/batch_core/adapters/amazon_roots.pem"


def build(layer: str, source: Path, artifacts: Path) -> subprocess.CompletedProcess[str]:
    """Do what `sam build` does for a layer with `BuildMethod: makefile`."""
    folder = Path(sys.executable).parent
    return subprocess.run(
        ["make", f"build-{layer}"],
        cwd=source,
        env={
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "ARTIFACTS_DIR": str(artifacts),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def made(layer: str, source: Path, artifacts: Path) -> Path:
    """Build a layer; returns its folder `python`."""
    built = build(layer, source, artifacts)
    assert built.returncode == 0, built.stderr
    return artifacts / "python"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the layers' sources, as sam makes one."""
    copy = tmp_path_factory.mktemp("sources") / "layers"
    shutil.copytree(ROOT / "layers", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def core(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `python` of the built layer batch_core."""
    return made("BatchCoreLayer", sources / "batch_core", tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="module")
def libcurl(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `python` of the built layer of libcurl."""
    return made("LibcurlLayer", sources / "batch_core", tmp_path_factory.mktemp("libcurl"))


@pytest.fixture(scope="module")
def job(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `python` of the built layer job."""
    return made("JobLayer", sources / "job", tmp_path_factory.mktemp("job"))


def test_a_makefile_makes_each_layer() -> None:
    for name, layer in of_type(written(), "Serverless::LayerVersion").items():
        makefile = ROOT / layer["Properties"]["ContentUri"] / "Makefile"

        assert layer["Metadata"] == {"BuildMethod": "makefile"}
        assert f"\nbuild-{name}:\n" in makefile.read_text()


def test_certificates_that_a_team_adds_are_where_the_parameter_looks_for_them(
    tmp_path: Path,
) -> None:
    shutil.copytree(ROOT / "layers/job", tmp_path / "job")
    (tmp_path / "job/company.pem").write_text("a certificate")

    folder = made("JobLayer", tmp_path / "job", tmp_path / "made")

    # DatabaseCaFile: /opt/python/company.pem
    assert (folder / "company.pem").read_text() == "a certificate"


# --- batch_core -----------------------------------------------------------------------------------


def test_every_extension_module_is_there_for_both_architectures(core: Path, libcurl: Path) -> None:
    modules: dict[str, set[str]] = {}
    for root in (core, libcurl):
        for path in root.rglob("*.so"):
            if path.parent.suffix == ".libs":  # they are told apart by the digest in their names
                continue
            machine = machine_of(path)
            assert machine in path.name
            name = str(path.relative_to(root)).split(".")[0]
            modules.setdefault(name, set()).add(machine)

    assert "pycurl/_pycurl" in modules
    assert "orjson/orjson" in modules
    assert [name for name, machines in modules.items() if machines != {*MACHINES.values()}] == []


def test_every_library_of_libcurl_is_there_for_both_architectures(libcurl: Path) -> None:
    libraries: dict[str, set[str]] = {}
    for path in (libcurl / "pycurl.libs").iterdir():
        libraries.setdefault(path.name.split("-")[0], set()).add(machine_of(path))

    assert {"libcurl", "libssl", "libcrypto"} <= libraries.keys()
    assert [name for name, found in libraries.items() if found != {*MACHINES.values()}] == []


def machine_of(path: Path) -> str:
    return MACHINES[struct.unpack_from("<H", path.read_bytes(), 18)[0]]


def test_libraries_end_where_their_segments_end(core: Path, libcurl: Path) -> None:
    for path in [*core.rglob("*.so"), *libcurl.rglob("*.so*")]:
        image = path.read_bytes()
        (table,) = struct.unpack_from("<Q", image, 32)
        size, count = struct.unpack_from("<HH", image, 54)
        ends, kinds = [], []
        for entry in range(table, table + size * count, size):
            kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", image, entry)
            ends.append(offset + length)
            kinds.append(kind)

        assert max(ends) == len(image)
        assert {1, 2} <= set(kinds)  # what is loaded, and what the loader needs to link it


def test_every_module_has_bytecode_that_is_never_checked(
    core: Path, job: Path, libcurl: Path
) -> None:
    sources = [path for layer in (core, job, libcurl) for path in layer.rglob("*.py")]

    assert len(sources) > 150
    for path in sources:
        code = (path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc").read_bytes()
        # https://peps.python.org/pep-0552/
        assert code[4:8] == b"\x01\0\0\0"
        assert code[8:16] == source_hash(path.read_bytes())
        assert b"/opt/python/" in code  # what a traceback will name


def test_nothing_is_shipped_twice_or_for_nothing(core: Path) -> None:
    names = {path.name.removesuffix(".py") for path in core.iterdir()}

    assert names.isdisjoint(name.removesuffix(".py") for name in LAMBDA_RUNTIME)
    assert not [*core.rglob("*.pyi"), *core.rglob("*.dist-info"), *core.rglob("tests")]
    assert not [*core.rglob("event_handler"), *core.rglob("ext")]


def test_the_layers_stay_small(core: Path, libcurl: Path) -> None:
    """Every environment unpacks the first, Call API's the second; Lambda takes 250 MB."""
    assert sum(sizes(core)) < 8 * MIB
    assert sum(sizes(libcurl)) < 40 * MIB
    assert len(sizes(core)) < 500
    assert len(sizes(libcurl)) < 50


def sizes(layer: Path) -> list[int]:
    return [path.stat().st_size for path in layer.rglob("*") if path.is_file()]


def test_the_package_is_whole(core: Path) -> None:
    shipped = ROOT / "layers/batch_core/batch_core"
    wanted = {
        path.relative_to(shipped)
        for path in shipped.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert Path("adapters/amazon_roots.pem") in wanted
    assert Path("schema/0001_ledger.sql") in wanted
    assert wanted <= {
        path.relative_to(core / "batch_core") for path in core.rglob("batch_core/**/*")
    }


def test_every_module_is_imported_from_the_layers_and_the_runtime_alone(
    core: Path, job: Path, libcurl: Path, tmp_path: Path
) -> None:
    for name in LAMBDA_RUNTIME:
        installed = next(
            Path(folder) / name for folder in sys.path if (Path(folder) / name).exists()
        )
        (tmp_path / name).symlink_to(installed)
    program = """
import importlib, pkgutil, sys
import batch_core, job
for module in pkgutil.walk_packages(batch_core.__path__, "batch_core."):
    importlib.import_module(module.name)
# Loaded by need alone; slow, but no error, without them.
for name in ("aws_xray_sdk.core", "orjson.orjson", "pycurl._pycurl", "wrapt._wrappers"):
    importlib.import_module(name)
    print(sys.modules[name].__file__)
"""
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": os.pathsep.join(map(str, (core, job, libcurl, tmp_path)))},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert all(line.startswith((str(core), str(libcurl))) for line in ran.stdout.splitlines())


def test_the_same_sources_make_the_same_layer(core: Path, sources: Path, tmp_path: Path) -> None:
    built = build("BatchCoreLayer", sources / "batch_core", tmp_path)

    assert built.returncode == 0, built.stderr
    assert dict(digests(tmp_path / "python")) == dict(digests(core))


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), sha256(path.read_bytes()).hexdigest()


def test_a_wheel_that_is_not_the_locked_one_stops_the_build(sources: Path, tmp_path: Path) -> None:
    altered = tmp_path / "batch_core"
    shutil.copytree(sources / "batch_core", altered)
    lock = altered / "requirements.txt"
    requirement = re.search(r"^pymysql==.*(?:\n .*)*", lock.read_text(), re.MULTILINE)
    assert requirement
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", requirement[0]))

    built = build("BatchCoreLayer", altered, tmp_path / "artifacts")

    assert built.returncode != 0
    assert "DO NOT MATCH THE HASHES" in built.stderr
    assert "requirements for x86_64 and aarch64" in built.stderr


# --- job ------------------------------------------------------------------------------------------


def test_the_job_brings_its_tables(job: Path) -> None:
    wanted = sorted(path.name for path in (ROOT / "layers/job/schema").glob("*.sql"))

    assert wanted
    assert sorted(path.name for path in (job / "schema").iterdir()) == wanted
    assert (job / "job.py").read_bytes() == (ROOT / "layers/job/job.py").read_bytes()


def test_a_job_that_is_not_python_stops_the_build(sources: Path, tmp_path: Path) -> None:
    altered = tmp_path / "job"
    shutil.copytree(sources / "job", altered)
    (altered / "job.py").write_text("def request(user) -> \n")

    built = build("JobLayer", altered, tmp_path / "artifacts")

    assert built.returncode != 0
    assert "job.py" in built.stdout + built.stderr


# --- certificates ---------------------------------------------------------------------------------


BLOCK = r"(-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----)"


def fingerprint(block: str) -> str:
    return sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest()


def test_the_amazon_roots_are_those_that_mozilla_knows_by_these_names() -> None:
    mozilla = Path(certifi.where()).read_text()
    known = dict(re.findall(rf'# Label: "([^"\n]+)"\n(?:#[^\n]*\n)*{BLOCK}', mozilla))
    names = [*(f"Amazon Root CA {n}" for n in (1, 2, 3, 4))]
    names += ["Starfield Services Root Certificate Authority - G2"]

    ours = re.findall(rf"# ([^\n]+)\n{BLOCK}", AMAZON_ROOTS.read_text())

    assert [(name, fingerprint(block)) for name, block in ours] == [
        (name, fingerprint(known[name])) for name in names
    ]


def test_the_amazon_roots_are_all_that_is_trusted() -> None:
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted.load_verify_locations(AMAZON_ROOTS)

    assert trusted.cert_store_stats() == {"x509": 5, "x509_ca": 5, "crl": 0}
