"""Build the template and deploy it on the local cloud, with the `sam` that deploys it to AWS."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from batchctl.errors import BatchctlError
from batchctl.local import emulator, processes
from batchctl.local.home import CHECKOUT, exclusive
from batchctl.local.servers import REGION
from batchctl.tenants.parameters import DIGEST, digest, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TEMPLATE: Final = CHECKOUT / "template.yaml"
CONFIG: Final = CHECKOUT / "samconfig.toml"

ROLES: Final = ("sam-build", "sam-deploy")

# Builds depend on the checkout alone, so that every local cloud of it, a test's too, shares them.
_BUILDS: Final = CHECKOUT / ".local" / "build"
_BUILDS_KEPT: Final = 4
_SOURCES: Final = ("statemachine", "functions", "layers")


def build(home: Path, template: Path, report: Callable[[str], None]) -> Path:
    """Return the built template, which is built only when its sources have changed.

    Raises BatchctlError with the end of what `sam build` printed when it fails.
    """
    digest = fingerprint(template)
    built = _BUILDS / digest[:16]
    if _is_complete(built):
        return built / "template.yaml"
    with exclusive(_BUILDS / "lock", report):
        if not _is_complete(built):  # another command may have built it meanwhile
            report(f"building {template.name}")
            shutil.rmtree(built, ignore_errors=True)
            options = ["--template-file", str(template), "--build-dir", str(built)]
            options += ["--parallel", "--cached", "--cache-dir", str(_BUILDS / "cache")]
            options += ["--parameter-overrides", f"Architecture={architecture()}"]
            _sam(home, "build", options, environment(home, None))
            fit_to_the_emulator(built / "template.yaml")
            (built / ".complete").touch()
            _forget_old_builds()
    return built / "template.yaml"


def deploy(
    home: Path,
    endpoint: str,
    *,
    ca_file: Path | None = None,
    template: Path,
    stack: str,
    bucket: str,
    parameters: Mapping[str, str],
) -> None:
    """Deploy a built template as a stack of the cloud at `endpoint`.

    Raises BatchctlError with the end of what `sam deploy` printed when it fails.
    """
    options = ["--template-file", str(template), "--stack-name", stack, "--s3-bucket", bucket]
    options += ["--s3-prefix", stack, "--region", REGION, "--capabilities", "CAPABILITY_IAM"]
    options += ["--no-confirm-changeset", "--no-fail-on-empty-changeset"]
    if CONFIG.exists():
        options += ["--config-file", str(CONFIG), "--config-env", "local"]
    # Every parameter is given: one that is not keeps its value of the last deployment, whatever its
    # default says now.
    whole = _defaults(template) | dict(parameters)
    if DIGEST in whole:
        whole[DIGEST] = digest({name: value for name, value in whole.items() if name != DIGEST})
    options += ["--parameter-overrides", *(_override(*pair) for pair in sorted(whole.items()))]
    _sam(home, "deploy", options, environment(home, endpoint, ca_file))


def local_parameters() -> dict[str, str]:
    """Return the parameter values that samconfig.toml keeps for the local cloud."""
    if not CONFIG.exists():
        return {}
    settings = tomllib.loads(CONFIG.read_text())
    given = settings.get("local", {}).get("deploy", {}).get("parameters", {})
    overrides = given.get("parameter_overrides", [])
    pairs = shlex.split(overrides) if isinstance(overrides, str) else overrides
    return dict(pair.split("=", 1) for pair in pairs)


def architecture() -> str:
    """Return this machine's architecture in Lambda's words: local functions run on it directly."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def environment(home: Path, endpoint: str | None, ca_file: Path | None = None) -> dict[str, str]:
    """Return the environment of `sam`: this machine's, but no AWS account of anybody's."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env |= credentials()
    if endpoint is not None:
        env["AWS_ENDPOINT_URL"] = endpoint
    if ca_file is not None:
        env["AWS_CA_BUNDLE"] = str(ca_file)
    # The interpreter that the template's runtime names is found on PATH.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["SAM_CLI_TELEMETRY"] = "0"
    env["SAM_CLI_POLL_DELAY"] = "0.5"
    env["__SAM_CLI_APP_DIR"] = str(home / "sam")
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1,localhost"]))
    return env


def credentials() -> dict[str, str]:
    """Return credentials that open nothing but the local cloud, and hide every other."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # nosec B105
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def fingerprint(template: Path) -> str:
    """Return a digest of everything that a build is made from."""
    digest = hashlib.sha256(f"{sys.version} {platform.machine()}".encode())
    # It decides what is left of the template.
    digest.update(Path(emulator.__file__).read_bytes())
    for file in _source_files(template):
        digest.update(f"\0{file.relative_to(template.parent)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _defaults(template: Path) -> dict[str, str]:
    # A built template is plain YAML: sam writes the short forms, such as !Ref, in full.
    declared = yaml.safe_load(template.read_text(encoding="utf-8")).get("Parameters", {})
    defaults = {name: given["Default"] for name, given in declared.items() if "Default" in given}
    return {name: text(value) for name, value in defaults.items()}


def _override(name: str, value: str) -> str:
    escaped = value.replace('"', r"\"")
    return f'{name}="{escaped}"'


def _source_files(template: Path) -> Iterator[Path]:
    if not template.exists():
        raise BatchctlError(f"There is no template at {template}.")
    yield template
    for folder in _SOURCES:
        for file in sorted((template.parent / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def fit_to_the_emulator(template: Path) -> None:
    """Leave out of a built template what the local cloud cannot make."""
    # sam has written the short forms, such as !Ref, in full.
    whole = emulator.without_what_it_lacks(yaml.safe_load(template.read_text(encoding="utf-8")))
    template.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")


def _is_complete(built: Path) -> bool:
    return (built / ".complete").exists()


def _forget_old_builds() -> None:
    builds = sorted(_BUILDS.glob("*/.complete"), key=lambda file: file.stat().st_mtime)
    for complete in builds[:-_BUILDS_KEPT]:
        shutil.rmtree(complete.parent, ignore_errors=True)


def _sam(home: Path, verb: str, options: Sequence[str], env: Mapping[str, str]) -> None:
    program = Path(sys.executable).with_name("sam")
    log = home / "logs" / f"sam-{verb}.log"
    status = processes.run(
        home, f"sam-{verb}", [program, verb, *options], env=env, log=log, cwd=CHECKOUT
    )
    if status != 0:
        raise BatchctlError(
            f"sam {verb} failed with exit status {status}.{processes.tail(log, lines=25)}"
        )
