"""Put a MySQL server below .local/mysql, without root and without touching the system.

Ubuntu has the server among its own packages. Debian has it in its suite `unstable` only, so a
sources list, state and cache of their own are used there; mirror, proxies and credentials are those
of the machine's own apt, and apt verifies the signatures. Of what it brings, three things are kept:
`mysqld`, its messages and character sets, and the libraries that the loader maps for it. The loader
is kept too and starts the server, so the machine's own libraries may be older. Perl, on which the
package depends for its scripts, is not fetched.

The exact version is whatever the suite has, because it drops old ones; it is written down in
`server.json`, which says all that is needed to start the server:

    {"version": "9.7.4-2", "command": [...], "data": "a freshly initialised data folder"}

Where packages cannot be had, a `mysqld` that is installed does.
"""
# ruff: noqa: T201

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".local" / "mysql"
RECORD = FOLDER / "server.json"

# What RDS and Aurora run, and what Debian has, on which the suite was run: 9.7. Another version is
# added when the suite has been run on it.
WANTED = ("8.0", "8.4", "9")
PACKAGES = ("mysql-server-core", "mysql-server-core-8.4", "mysql-server-core-8.0")
# Debian keeps MySQL out of its releases.
DEBIAN_SUITE = "unstable"
KEYRINGS = "/usr/share/keyrings/debian-archive-keyring.*"
# For apt, these are installed: no program that is wanted here runs a script.
LEFT_OUT = ("perl", "perl-base")


class FetchError(Exception):
    """Why there is no MySQL."""

    status = 1


class MirrorError(FetchError):
    """What a mirror did not give, and may give the next time."""

    status = 75  # EX_TEMPFAIL, as setup.py has it


def main() -> int:
    """Fetch the server unless it is there, and say what was done."""
    try:
        if not ready():
            made = fetch()
            print(f"setup: MySQL {made['version']}, below {FOLDER.relative_to(ROOT)}", flush=True)
    except FetchError as error:
        print(f"setup: {error}", file=sys.stderr)
        return error.status
    return 0


def ready() -> bool:
    """Return whether the server was fetched by this very program into this very folder."""
    try:
        known = json.loads(RECORD.read_text())
    except (OSError, ValueError):
        return False
    return known.get("made_by") == made_by() and Path(known["command"][0]).exists()


def made_by() -> str:
    """Return a digest of this program and its place: what it makes holds absolute paths."""
    return hashlib.sha256(str(ROOT).encode() + Path(__file__).read_bytes()).hexdigest()


def fetch() -> dict:
    """Make the folder, try the server out, and write the record."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    scratch = FOLDER / "scratch"
    scratch.mkdir(parents=True)
    try:
        command = packaged(scratch)
    except FetchError as error:
        command = installed()
        if command is None:
            raise type(error)(
                f"there is no MySQL, which the tests run on beside MariaDB. {error}\n"
                "Either mend that and run make again, or install a MySQL server (8.0 or newer) so "
                "that `mysqld` is on PATH."
            ) from None
    version = version_of(command)
    data = FOLDER / "data"
    initialise(command, data)
    shutil.rmtree(scratch)
    made = {"version": version, "command": command, "data": str(data), "made_by": made_by()}
    RECORD.write_text(json.dumps(made, indent=2) + "\n")
    return made


def installed() -> list | None:
    """Return the command of a MySQL that the machine has, if it has one."""
    program = shutil.which("mysqld", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    # MariaDB has a program of that name, too.
    if program and "MariaDB" not in output([program, "--version"], FOLDER):
        return [program, "--no-defaults"]
    return None


# --- packages ------------------------------------------------------------------------------------


def packaged(scratch: Path) -> list:
    """Fetch the package and its libraries, keep what the server needs, and return its command."""
    if not shutil.which("apt-get"):
        raise FetchError("It is fetched by apt-get, and this machine does not have apt-get.")
    apt = own_apt(scratch)
    output([*apt, "update"], scratch, MirrorError)
    package = candidate(apt, scratch)
    # Downloading needs no lock of dpkg's, nor the administrator.
    options = ["-o", "Debug::NoLocking=true", "--yes", "--no-install-recommends"]
    output([*apt, *options, "install", "--download-only", package], scratch, MirrorError)
    unpacked = scratch / "root"
    for archive in sorted((scratch / "cache" / "archives").glob("*.deb")):
        output(["dpkg-deb", "--extract", archive, unpacked], scratch)
    return keep(unpacked)


def own_apt(scratch: Path) -> list:
    """Return an apt-get whose state and cache lie in a folder; its settings are the machine's."""
    for folder in ("state/lists/partial", "cache/archives/partial", "sources"):
        (scratch / folder).mkdir(parents=True)
    status = scratch / "state" / "status"
    architecture = output(["dpkg", "--print-architecture"], scratch).strip()
    status.write_text("".join(map(stub(architecture).format, LEFT_OUT)))
    options = {
        "Dir::State": scratch / "state",
        "Dir::State::status": status,
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "root",  # the files are the caller's
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    if "ID=debian" in release():
        sources = scratch / "sources" / "mysql.sources"
        sources.write_text(source(debian_mirror(scratch)))
        options["Dir::Etc::sourcelist"] = os.devnull
        options["Dir::Etc::sourceparts"] = sources.parent
        # A preference for the machine's own release would refuse every other one.
        options["Dir::Etc::preferences"] = options["Dir::Etc::preferencesparts"] = os.devnull
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["apt-get", "--quiet=2", *given]


def stub(architecture: str) -> str:
    """Return how dpkg's status tells of an installed package, with a place for its name."""
    lines = ("Package: {}", "Status: install ok installed", f"Architecture: {architecture}")
    return "\n".join((*lines, "Multi-Arch: allowed", "Version: 99", "", ""))


def release() -> list:
    """Return the lines of the file that names the system."""
    try:
        return Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def debian_mirror(scratch: Path) -> str:
    """Return where the machine's apt has the main archive of Debian from."""
    shown = ["--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"]
    for line in output(["apt-get", "indextargets", *shown], scratch).splitlines():
        uri, suite, component = line.split()
        # Not bookworm-security, nor another of those that have an archive of their own.
        if component == "main" and "-" not in suite and uri.rstrip("/").endswith("debian"):
            return uri
    raise FetchError("No source of apt names a mirror of Debian's main archive.")


def source(mirror: str) -> str:
    """Return the sources list of Debian's suite."""
    lines = ["Types: deb", f"URIs: {mirror}", f"Suites: {DEBIAN_SUITE}", "Components: main"]
    keyrings = sorted(glob.glob(KEYRINGS))  # noqa: PTH207  an absolute pattern
    if keyrings:  # else apt's own, which hold Debian's key then
        lines.append(f"Signed-By: {keyrings[0]}")
    return "\n".join(lines) + "\n"


def candidate(apt: list, scratch: Path) -> str:
    """Return the name of a package whose version will do."""
    seen = []
    for package in PACKAGES:
        policy = output(["apt-cache", *apt[2:], "policy", package], scratch)
        found = re.search(r"Candidate: (?:\d+:)?(\d\S*)", policy)
        if found and wanted(found[1]):
            return package
        if found:
            seen.append(f"{package} {found[1]}")
    if not seen:
        raise FetchError(f"None of apt's sources has one of {', '.join(PACKAGES)}.")
    raise FetchError(
        f"apt offers {', '.join(seen)}; the versions that will do are {', '.join(WANTED)} "
        f"(scripts/{Path(__file__).name})."
    )


def wanted(version: str) -> bool:
    """Return whether a version is one of those that will do."""
    return any(re.match(re.escape(known) + r"\.", version) for known in WANTED)


def keep(unpacked: Path) -> list:
    """Move what the server needs to its place, and return the command that starts it."""
    (mysqld,) = unpacked.glob("usr/sbin/mysqld")
    loaders = [path for path in unpacked.rglob("ld-linux*.so.*") if not path.is_symlink()]
    libraries = FOLDER / "lib"
    libraries.mkdir()
    loader = Path(shutil.copy(loaders[0], libraries))
    places = ":".join(sorted({str(path.parent) for path in unpacked.rglob("lib*.so.*")}))
    listed = output([loader, "--library-path", places, "--list", mysqld], unpacked)
    for line in listed.splitlines():
        name, _, found = line.strip().partition(" => ")
        if found == "not found":
            raise FetchError(f"The packages lack {name}, which mysqld is linked against.")
        path = found.split(" (")[0]
        if path.startswith(str(unpacked)):
            shutil.copy(path, libraries / name)
    program = Path(shutil.copy(mysqld, FOLDER))
    share = FOLDER / "share"
    shutil.copytree(str(unpacked / "usr" / "share" / "mysql"), str(share))
    start = [str(loader), "--library-path", str(libraries), str(program), "--no-defaults"]
    return [*start, f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}"]


# --- the server ----------------------------------------------------------------------------------


def version_of(command: list) -> str:
    """Return the version that the server tells, if it is one that will do."""
    told = output([*command, "--version"], FOLDER)
    found = re.search(r"Ver (\S+)", told)
    if not found or not wanted(found[1]):
        raise FetchError(
            f"{command[0]} is {told.strip()}; the versions that will do are {', '.join(WANTED)}."
        )
    return found[1]


def initialise(command: list, data: Path) -> None:
    """Make the folder that each new server begins with a copy of; it shows that this one runs."""
    building = data.with_name("data.building")
    options = ["--initialize-insecure", f"--datadir={building}", "--secure-file-priv="]
    options += ["--auto-generate-certs=OFF", "--loose-innodb-redo-log-capacity=8M"]
    if os.geteuid() == 0:
        options.append("--user=root")
    output([*command, *options], FOLDER)
    building.rename(data)


def output(command: list, folder: Path, failure: type = FetchError) -> str:
    """Run a program in a folder and return what it says; raise that as a failure if it fails."""
    words = [str(word) for word in command]
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        ran = subprocess.run(
            words,
            check=False,
            cwd=str(folder),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except OSError as error:
        raise FetchError(f"{words[0]} cannot be started ({error.strerror}).") from None
    if ran.returncode != 0:
        said = "\n".join(f"  | {line}" for line in ran.stdout.strip().splitlines()[-8:])
        raise failure(f"This failed: {' '.join(words[:1] + words[-2:])}\n{said}")
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
