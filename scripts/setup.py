"""Make a fresh clone ready: environments from hashed locks, the project, MariaDB.

With --mysql also MySQL. With --gates also what only `make check` needs: checkov, cfn-guard, and the
layer's wheels. With --tests, which tries the gates and both databases, all of it, and Chromium,
which shows it the page of a run.

With --client only what looks after tenants on AWS needs: no MariaDB, no local cloud, no tests. With
--client --wheels DIR it is taken from a folder and no network is asked: `make package` fills the
folder, and the pipeline hands it on to the builds that verify.

What comes from a mirror is asked for again, with longer and longer pauses. When it does not come at
all the status is 75, EX_TEMPFAIL: nothing was tried yet, and nothing is wrong with the checkout.

The first program that ever runs in a checkout, so it needs nothing but the standard library of a
Python 3.8. Every step is skipped while what it made is still right; a step that was interrupted is
done again.
"""
# ruff: noqa: T201

from __future__ import annotations

import configparser
import functools
import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
VENV = ROOT / ".venv"
MINISTACK_VENV = LOCAL / "ministack-venv"
GATES_VENV = LOCAL / "gates-venv"
TOOLS = LOCAL / "tools"
UV = TOOLS / "bin" / "uv"

DEV_LOCK = ROOT / "requirements" / "dev.txt"
CLIENT_LOCK = ROOT / "requirements" / "client.txt"
MINISTACK_LOCK = ROOT / "requirements" / "ministack.txt"
GATES_LOCK = ROOT / "requirements" / "gates.txt"
JSONATA = ROOT / "tests" / "jsonata"
GATES = ROOT / "gates"
LAYER = ROOT / "layers" / "batch_core"
WHEELS = LOCAL / "wheels"
CLIENT_WHEELS = LOCAL / "client-wheels"

MYSQL = LOCAL / "mysql" / "server.json"
FETCH_MYSQL = ROOT / "scripts" / "fetch_mysql.py"

WANTED = "3.13"  # the runtime of template.yaml: functions run under this interpreter locally
# The last is what mariadb-install-db is made with.
MARIADB_PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults")
# The -core packages hold the programs alone: no service is installed, so none is started. Older
# releases have them under other names, which the package of the service brings.
MARIADB_PACKAGES = (("mariadb-server-core", "mariadb-client-core"), ("mariadb-server",))
# Any of them does.
BROWSER_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_PACKAGES = (("chromium",), ("chromium-browser",))
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# A mirror that is restarted or throttles is back within a minute or two.
PAUSES_S = (5, 15, 45)
NOT_FETCHED = 75  # EX_TEMPFAIL of sysexits.h


class SetupError(Exception):
    """What is missing, and what to type."""


class FetchError(SetupError):
    """A mirror did not give what it was asked for, however often."""


def main(arguments: list) -> int:
    """Run every step that is due."""
    started = time.monotonic()
    try:
        done = [step() for step in steps_of(arguments)]
    except FetchError as error:
        print(f"setup: {error}", file=sys.stderr)
        return NOT_FETCHED
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        command = " ".join(str(part) for part in error.cmd)
        print(f"setup: exit status {error.returncode} from: {command}", file=sys.stderr)
        return 1
    if any(done):
        say(f"ready, in {time.monotonic() - started:.0f} seconds")
    return 0


def steps_of(arguments: list) -> list:
    """Return the steps that the arguments ask for, in their order."""
    if "--client" in arguments:
        wheels = arguments[arguments.index("--wheels") + 1] if "--wheels" in arguments else None
        return [functools.partial(ensure_client, wheels)]
    steps = [ensure_mariadb, ensure_environments, ensure_jsonata]
    if "--gates" in arguments or "--tests" in arguments:
        steps.append(ensure_gates)
    if "--mysql" in arguments or "--tests" in arguments:
        steps.append(ensure_mysql)
    if "--tests" in arguments:
        steps.append(ensure_browser)
    return steps


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"setup: {text}", flush=True)


def run(command: list, env: dict, cwd: Path = ROOT) -> None:
    """Run a program that prints for itself."""
    subprocess.run([str(part) for part in command], check=True, cwd=str(cwd), env=env)


def fetch(command: list, env: dict, cwd: Path = ROOT, quietly: bool = False) -> None:
    """Run a program that asks a mirror for something, again when it fails.

    Raises FetchError when it fails every time.
    """
    words = [str(part) for part in command]
    out = subprocess.DEVNULL if quietly else None
    for pause in [*PAUSES_S, None]:
        status = subprocess.run(words, check=False, cwd=str(cwd), env=env, stdout=out).returncode
        if status == 0:
            return
        if pause is not None:
            say(f"exit status {status} from {Path(words[0]).name}; again in {pause} seconds")
            time.sleep(pause)
    raise FetchError(
        f"exit status {status}, {len(PAUSES_S) + 1} times, from: {' '.join(words)}\n"
        "setup: nothing was done yet. Look whether the mirror answers, then type the same again."
    )


def quiet(command: list) -> bool:
    """Return whether a program succeeds, showing nothing of it."""
    try:
        ran = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return False
    return ran.returncode == 0


# --- Programs of the system -----------------------------------------------------------------------


def ensure_mariadb() -> bool:
    """Install MariaDB's programs by the system's package manager unless they are there."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin"
    if all(shutil.which(program, path=path) for program in MARIADB_PROGRAMS):
        return False
    install_packages("MariaDB", MARIADB_PACKAGES)
    return True


def ensure_mysql() -> bool:
    """Fetch MySQL's server below .local unless it is there; another program does, and tells."""
    before = MYSQL.stat() if MYSQL.exists() else None
    status = subprocess.run([sys.executable, str(FETCH_MYSQL)], check=False).returncode
    if status != 0:
        kind = FetchError if status == NOT_FETCHED else SetupError
        raise kind("without MySQL the tests cannot run")
    return MYSQL.stat() != before


def ensure_browser() -> bool:
    """Install Chromium by the system's package manager unless some browser of its kind is there."""
    if any(shutil.which(program) for program in BROWSER_PROGRAMS):
        return False
    install_packages("Chromium", BROWSER_PACKAGES)
    return True


def install_packages(what: str, choices: tuple) -> None:
    """Install the first choice of packages that this release has, or say what to type."""
    if not shutil.which("apt-get"):
        raise SetupError(
            f"{what} is missing and this machine has no apt-get. Install it with the machine's own "
            f"package manager (on Debian it is {' '.join(choices[0])}), then run make again."
        )
    privilege = administrator()
    if privilege is None:
        wanted = " ".join(first_available(choices))
        raise SetupError(
            f"{what} is missing, and installing it needs the administrator's password. Type this, "
            f"then run make again:\n\n    sudo apt-get install --no-install-recommends {wanted}\n"
        )
    say(f"{what}, by apt-get")
    env = dict(os.environ)
    fetch([*privilege, "apt-get", "-qq", "update"], env)
    install = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    install += ["install", "--yes", "--no-install-recommends", *first_available(choices)]
    command = [*privilege, "env", "DEBIAN_FRONTEND=noninteractive", *install]
    # What goes well is of no interest here; what does not is printed as an error.
    fetch(command, env, quietly=True)


def administrator() -> list | None:
    """Return what precedes an administrator's command, or None when that needs a password."""
    if os.geteuid() == 0:
        return []
    if quiet(["sudo", "-n", "true"]):
        return ["sudo", "-n"]
    return None


def first_available(choices: tuple) -> tuple:
    """Return the first choice all of whose packages this release has, else the last."""
    for packages in choices[:-1]:
        if all(available(package) for package in packages):
            return packages
    return choices[-1]


def available(package: str) -> bool:
    """Return whether this release has the package."""
    shown = subprocess.run(
        ["apt-cache", "show", package],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return b"Package: " in shown.stdout


# --- Python environments -------------------------------------------------------------------------


def ensure_environments() -> bool:
    """Make .venv with the project in it, and the local cloud's environment."""
    changed = ensure_environment(VENV, DEV_LOCK, "the development environment")
    ensured = ensure_environment(MINISTACK_VENV, MINISTACK_LOCK, "the local cloud's environment")
    return ensure_project(anew=changed) or ensured


def ensure_client(wheels: object) -> bool:
    """Make .venv with the project in it and the little that looks after tenants needs.

    An environment that was made whole stays whole, since it has that, too.
    """
    if (VENV / "bin" / "sam").exists():
        return ensure_project(
            anew=ensure_environment(VENV, DEV_LOCK, "the development environment")
        )
    changed = ensure_environment(VENV, CLIENT_LOCK, "the client's environment", wheels)
    return ensure_project(anew=changed)


def ensure_project(anew: bool) -> bool:
    """Put the project itself into .venv, where it is not yet as it is now."""
    project = key(ROOT / "pyproject.toml", *packages())
    if not anew and stamp(VENV, "project") == project:
        return False
    say("the project itself")
    # Its build needs only what the lock has brought, uv among it.
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--python", VENV / "bin/python"]
    uv = VENV / "bin" / "uv"
    run([uv, "pip", "install", *options, "--editable", ROOT], uv_environment())
    write_stamp(VENV, project, "project")
    return True


def offline(wheels: object) -> list:
    """Return what tells pip and uv to take everything from a folder, when there is one."""
    return [] if wheels is None else ["--no-index", "--find-links", wheels]


def ensure_environment(venv: Path, lock: Path, what: str, wheels: object = None) -> bool:
    """Make a virtual environment hold exactly what a lock says."""
    python = venv / "bin" / "python"
    usable = runs(python)
    if usable and stamp(venv) == key(lock):
        return False
    uv = ensure_uv(wheels)
    remove_stamps(venv)
    env = uv_environment()
    if not usable:
        base, origin = find_python()
        say(f"Python {WANTED} for {what}: {base}, {origin}")
        run([*uv, "venv", "--quiet", "--clear", "--python", base, venv], env)
    say(f"{what}, as {lock.relative_to(ROOT)} says")
    options = ["--quiet", "--require-hashes", "--python", python, *offline(wheels)]
    fetch([*uv, "pip", "sync", *options, lock], env)
    write_stamp(venv, key(lock))
    return True


def packages() -> list:
    """Return the packages that an editable install finds: with a new one it must be repeated."""
    folders = (ROOT, ROOT / "layers" / "batch_core")
    found = (init.parent for folder in folders for init in folder.glob("*/__init__.py"))
    return sorted(str(package.relative_to(ROOT)) for package in found)


def find_python() -> tuple:
    """Return an interpreter of the wanted version that really runs, and where it was found."""
    name = f"python{WANTED}"
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    found = [
        (Path(folder) / program, "on PATH") for program in (name, "python3") for folder in folders
    ]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = pyenv.glob(f"versions/{WANTED}*/bin/{name}")
    found += [(path, "of pyenv") for path in sorted(versions, reverse=True)]
    for path, origin in found:
        if path.is_file() and runs(path):
            return path, origin
    return install_python(), "brought by uv"


def runs(python: Path) -> bool:
    """Return whether this is a working interpreter of the wanted version.

    A shim of pyenv exists for every version and fails for those not selected; a stripped-down build
    may lack what the project needs.
    """
    version = "'%d.%d' % sys.version_info[:2]"
    probe = f"import sys, ssl, ctypes, sqlite3, zlib; sys.exit({version} != '{WANTED}')"
    return quiet([str(python), "-c", probe])


def install_python() -> Path:
    """Ask uv for an interpreter, kept inside the checkout."""
    say(f"no Python {WANTED} on PATH or among pyenv's: asking uv for one")
    env = uv_environment()
    env["UV_PYTHON_INSTALL_DIR"] = str(LOCAL / "python")
    try:
        fetch([*ensure_uv(), "python", "install", "--no-bin", WANTED], env)
    except FetchError:
        raise SetupError(
            f"Python {WANTED} is neither on PATH nor among pyenv's versions, and uv could not "
            f"download it. Install it (pyenv install {WANTED}, or the system's package "
            f"python{WANTED}), then run make again."
        ) from None
    return max((LOCAL / "python").glob(f"cpython-{WANTED}*/bin/python{WANTED}"))


# --- uv ------------------------------------------------------------------------------------------


def ensure_uv(wheels: object = None) -> list:
    """Return the command of the locked uv, installed under .local/tools with any pip there is."""
    locked = re.search(r"^uv==.*\n(?: +.*\n)*", DEV_LOCK.read_text(), re.MULTILINE)
    if locked is None:
        raise SetupError(f"{DEV_LOCK} has no entry for uv. Run make lock in a working checkout.")
    if stamp(TOOLS) != key(locked.group()):
        shutil.rmtree(TOOLS, ignore_errors=True)
        TOOLS.mkdir(parents=True)
        only_uv = TOOLS / "uv.txt"
        only_uv.write_text(locked.group())
        pip = find_pip()
        if not pip:
            install_packages("pip", (("python3-pip",),))
            pip = find_pip()
        say("uv, which installs the rest")
        options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        options += [*offline(wheels), "--target", TOOLS]
        fetch([*pip, "install", *options, "--requirement", only_uv], pip_env())
        write_stamp(TOOLS, key(locked.group()))
    return [UV]


def find_pip() -> list:
    """Return a command that runs some pip, or an empty list.

    Debian's python3 comes without pip, and without what makes one (python3-venv); a pip that is
    there may be an old one, or another Python's: it installs a single file.
    """
    pythons = [
        sys.executable,
        "python3",
        *map(str, Path.home().glob(".pyenv/versions/3*/bin/python3")),
    ]
    for python in pythons:
        if quiet([python, "-m", "pip", "--version"]):
            return [python, "-m", "pip"]
    scratch = TOOLS / "pip"
    for python in pythons:
        if quiet([python, "-m", "venv", "--clear", str(scratch)]):
            return [str(scratch / "bin" / "python"), "-m", "pip"]
    return []


def pip_env() -> dict:
    """Return the environment of a pip that only carries one file here."""
    env = dict(os.environ)
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    env["PIP_ROOT_USER_ACTION"] = "ignore"
    return env


def uv_environment() -> dict:
    """Return the environment of uv and npm: the person's own, and the machine's authorities.

    pip is told by PIP_CERT or pip.conf where a company's proxy or index is; uv and npm carry their
    own list of authorities and do not read pip's settings, so they are told here.
    """
    env = dict(os.environ)
    env.pop("VIRTUAL_ENV", None)
    env.setdefault("UV_SYSTEM_CERTS", "1")
    authorities = env.get("PIP_CERT") or (str(CA_BUNDLE) if CA_BUNDLE.exists() else None)
    if authorities:
        env.setdefault("SSL_CERT_FILE", authorities)
        env.setdefault("NODE_EXTRA_CA_CERTS", authorities)
    if not any(name.startswith("UV_") and "INDEX" in name for name in env):
        index = pip_index()
        if index:
            env["UV_DEFAULT_INDEX"] = index
    return env


def pip_index() -> str | None:
    """Return the package index that the person's pip is set to, if any."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    files = ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"]
    files.append(os.environ.get("PIP_CONFIG_FILE", os.devnull))
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read([os.path.expanduser(file) for file in files])  # noqa: PTH111
    except configparser.Error:
        return None
    return settings.get("global", "index-url", fallback=None)


# --- packages of npm -----------------------------------------------------------------------------


def ensure_jsonata() -> bool:
    """Install the engine with which the tests judge the workflow's expressions."""
    return ensure_npm(JSONATA, "the reference JSONata engine")


def ensure_npm(folder: Path, what: str) -> bool:
    """Install what the lock in a folder says, and run nothing of it."""
    modules = folder / "node_modules"
    wanted = key(folder / "package-lock.json")
    if stamp(modules) == wanted:
        return False
    say(what)
    remove_stamps(modules)
    env = uv_environment()
    env["PATH"] = f"{VENV / 'bin'}:{env.get('PATH', os.defpath)}"
    options = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    # What a package is made to be used with (CDK, say) is not what it is used with here.
    options += ["--ignore-scripts", "--legacy-peer-deps"]
    fetch([VENV / "bin" / "npm", "ci", *options], env, cwd=folder)
    write_stamp(modules, wanted)
    return True


# --- the gates -----------------------------------------------------------------------------------


def ensure_gates() -> bool:
    """Install what `make check` needs, so that it then needs no network."""
    environment = ensure_environment(GATES_VENV, GATES_LOCK, "the gates' environment")
    guard = ensure_npm(GATES, "cfn-guard")
    return ensure_wheels() or guard or environment


def ensure_wheels() -> bool:
    """Keep the wheels of the layers' locks, out of which the layers are built twice."""
    build_layer = LAYER / "build_layer.py"
    layer = runpy.run_path(str(build_layer))
    locks = layer["LOCKS"].values()
    choices = [
        layer["wheels_of"](lock, architecture)
        for architecture in layer["ARCHITECTURES"]
        for lock in locks
    ]
    return download(WHEELS, key(*locks, build_layer), "the layers' wheels", choices)


def ensure_client_wheels() -> bool:
    """Keep the wheels of the client's lock, for machines like this one."""
    choice = ["--require-hashes", "--only-binary=:all:", "--requirement", CLIENT_LOCK]
    return download(CLIENT_WHEELS, key(CLIENT_LOCK), "the client's wheels", [choice])


def download(folder: Path, wanted: str, what: str, choices: list) -> bool:
    """Keep in a folder the wheels that each choice of pip's options names."""
    if stamp(folder) == wanted:
        return False
    say(what)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pip = [VENV / "bin" / "python", "-m", "pip", "download", "--quiet", "--quiet", "--dest", folder]
    for choice in choices:
        fetch([*pip, *choice], pip_env())
    write_stamp(folder, wanted)
    return True


# --- stamps --------------------------------------------------------------------------------------


def key(*parts: object) -> str:
    """Return a digest of files, words and the checkout's place: environments do not move."""
    digest = hashlib.sha256(str(ROOT).encode())
    for part in parts:
        digest.update(b"\0")
        digest.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
    return digest.hexdigest()


def stamp(folder: Path, name: str = "lock") -> str | None:
    """Return what a step left in the folder when it was done, or None."""
    try:
        return (folder / f".made-from-{name}").read_text()
    except OSError:
        return None


def write_stamp(folder: Path, text: str, name: str = "lock") -> None:
    """Say that the step is done."""
    (folder / f".made-from-{name}").write_text(text)


def remove_stamps(folder: Path) -> None:
    """Say that a step has begun: if it is interrupted, it is done again."""
    for file in folder.glob(".made-from-*"):
        file.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
