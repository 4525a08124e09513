"""The tenants as their file says, each with what it inherits."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator

from batchctl.errors import BatchctlError
from batchctl.tenants.document import Document, InvalidFileError, Problem
from batchctl.tenants.parameters import DIGEST, Parameters, digest, of_a_deployment, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from jsonschema.exceptions import ValidationError

    from batchctl.tenants.document import Place

# Sections of samconfig.toml that are no tenants'.
RESERVED: Final = ("default", "local")
_DERIVED: Final = {"TenantId": "the tenant's name", DIGEST: "worked out from the others"}


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant, with what it inherits."""

    name: str
    wave: int
    account: str
    region: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def stack(self) -> str:
        """The name of its stack."""
        return f"batch-{self.name}"

    def for_deployment(self, word: str) -> Tenant:
        """Return it as one deployment is told of it; see `of_a_deployment`."""
        return replace(self, parameters=of_a_deployment(self.parameters, word))


def load(document: Document, schema: Path, parameters: Parameters) -> tuple[Tenant, ...]:
    """Return the tenants of a file, in its order.

    Raises InvalidFileError with everything that is wrong with the file.
    """
    try:
        wanted = json.loads(schema.read_text(encoding="utf-8"))
    except OSError as error:
        raise BatchctlError(f"{schema} cannot be read: {error.strerror}.") from error
    problems = list(_of_the_schema(document, wanted))
    if problems:  # its shape is not what the rest relies on
        raise InvalidFileError(document.file, problems)
    problems = [
        *_of_values(document, parameters),
        *_of_names(document, parameters),
        *_of_waves(document),
    ]
    if problems:
        raise InvalidFileError(document.file, problems)
    tenants = tuple(_inherit(document, number) for number in range(_count(document)))
    problems = [
        *_of_combinations(document, tenants, parameters),
        *_of_databases(document, tenants),
        *_of_regions(document, tenants),
    ]
    if problems:
        raise InvalidFileError(document.file, problems)
    return tenants


# --- what a tenant inherits -----------------------------------------------------------------------


def _inherit(document: Document, number: int) -> Tenant:
    defaults = document.values.get("defaults", {})
    own = document.values["tenants"][number]
    given = {**defaults.get("parameters", {}), **own.get("parameters", {})}
    parameters = {"TenantId": own["name"], **{name: text(each) for name, each in given.items()}}
    return Tenant(
        name=own["name"],
        wave=own["wave"],
        account=own.get("account", defaults.get("account", "")),
        region=own.get("region", defaults.get("region", "")),
        parameters={**parameters, DIGEST: digest(parameters)},
        tags={**defaults.get("tags", {}), **own.get("tags", {})},
    )


def _count(document: Document) -> int:
    return len(document.values["tenants"])


# --- what can be wrong ----------------------------------------------------------------------------


def _of_the_schema(document: Document, schema: Mapping[str, Any]) -> Iterator[Problem]:
    for error in Draft202012Validator(schema).iter_errors(document.values):
        place = tuple(error.absolute_path)
        if error.validator == "required":
            missing = next(name for name in error.validator_value if name not in error.instance)
            remedy = error.schema["properties"][missing]["description"]
            yield document.problem((*place, missing), f"it is missing. {remedy}")
        elif error.validator == "additionalProperties" and error.validator_value is False:
            known = error.schema["properties"]
            for name in sorted(set(error.instance) - set(known)):
                message = f"it is not known here. {error.schema['description']}"
                yield document.problem((*place, name), message)
        else:
            yield document.problem(place, f"{error.message}. {_remedy(error, schema)}")


def _remedy(error: ValidationError, schema: Mapping[str, Any]) -> str:
    """The description nearest to what was refused; a value of a map has its map's."""
    found: str = schema["description"]
    where: Any = schema
    for step in error.absolute_schema_path:
        where = where[step]
        while isinstance(where, dict) and "$ref" in where:
            where = schema["$defs"][where["$ref"].rsplit("/", 1)[1]]
        if isinstance(where, dict) and isinstance(where.get("description"), str):
            found = where["description"]
    return found


def _of_values(document: Document, parameters: Parameters) -> Iterator[Problem]:
    holders: list[Place] = [("defaults",)]
    holders += [("tenants", number) for number in range(_count(document))]
    for holder in holders:
        values = document.values
        for step in holder:
            values = values.get(step, {}) if isinstance(values, dict) else values[step]
        for name, value in values.get("parameters", {}).items():
            place = (*holder, "parameters", name)
            refusal = parameters.refusal(name, text(value))
            if name in _DERIVED:
                yield document.problem(place, f"it is {_DERIVED[name]}. Remove it")
            elif refusal is not None:
                yield document.problem(place, refusal)


def _of_names(document: Document, parameters: Parameters) -> Iterator[Problem]:
    defaults = document.values.get("defaults", {})
    seen: dict[str, int] = {}
    for number, tenant in enumerate(document.values["tenants"]):
        name, place = tenant["name"], ("tenants", number, "name")
        refusal = parameters.refusal("TenantId", name)
        if refusal is not None:
            yield document.problem(place, refusal)
        elif name in RESERVED:
            yield document.problem(
                place, f"samconfig.toml has its own section {name}. Give another name"
            )
        elif name in seen:
            yield document.problem(
                place, f"{name} is there already, on line {seen[name]}. Give another name"
            )
        for other in seen:
            short, long = sorted((name, other), key=len)
            if long.startswith(f"{short}-"):
                message = f"what {short} may do goes by the start of names, which {long} has too"
                yield document.problem(place, f"{message}. Give another name")
        seen.setdefault(name, document.lines[place])
        for field in ("account", "region"):
            if field not in tenant and field not in defaults:
                message = "it is missing. Give it here, or under `defaults` for all"
                yield document.problem(("tenants", number, field), message)


def _of_waves(document: Document) -> Iterator[Problem]:
    waves = [tenant["wave"] for tenant in document.values["tenants"]]
    sizes = Counter(waves)
    if 0 not in sizes:
        yield document.problem(
            ("tenants",), "no tenant is the canary. Give wave 0 to one whose trouble harms nobody"
        )
    members: dict[int, list[int]] = defaultdict(list)
    for number, wave in enumerate(waves):
        place = ("tenants", number, "wave")
        members[wave].append(number)
        if wave > 0 and wave - 1 not in sizes and len(members[wave]) == 1:
            yield document.problem(
                place, f"there is no wave {wave - 1} before it. Number the waves without a gap"
            )
        if wave == 0 and len(members[wave]) > 1:
            yield document.problem(
                place, "wave 0 has a canary already. Give this tenant a later wave"
            )


def _of_combinations(
    document: Document, tenants: tuple[Tenant, ...], parameters: Parameters
) -> Iterator[Problem]:
    for number, tenant in enumerate(tenants):
        place = ("tenants", number, "parameters")
        for name in parameters.missing(tenant.parameters):
            yield document.problem((*place, name), "it is missing, and the template has no default")
        for said in parameters.broken_rules(tenant.parameters):
            yield document.problem(place, said)


def _of_databases(document: Document, tenants: tuple[Tenant, ...]) -> Iterator[Problem]:
    """Tenants share nothing: two of them in one schema would store into each other's tables."""
    owners: dict[tuple[str, ...], str] = {}
    names = ("DatabaseEndpoint", "DatabaseClusterIdentifier", "DatabaseInstanceIdentifier")
    for number, tenant in enumerate(tenants):
        server = [tenant.parameters.get(name, "") for name in names]
        if not any(server):
            continue
        for field in ("DatabaseName", "DatabaseUser"):
            key = (tenant.account, tenant.region, *server, field, tenant.parameters.get(field, ""))
            owner = owners.setdefault(key, tenant.name)
            if owner != tenant.name:
                yield document.problem(
                    ("tenants", number, "parameters", field),
                    f"tenant {owner} has the same one on that server. Give each tenant its own",
                )


def _of_regions(document: Document, tenants: tuple[Tenant, ...]) -> Iterator[Problem]:
    """A stack's code lies in a bucket of its own region, and the pipeline has one bucket."""
    home = next(tenant.region for tenant in tenants if tenant.wave == 0)
    for number, tenant in enumerate(tenants):
        if tenant.region != home:
            yield document.problem(
                ("tenants", number, "region"),
                f"the canary is in {home}, and a pipeline serves one region. Keep the tenants of"
                " another region in a checkout of their own",
            )
