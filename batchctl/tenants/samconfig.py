"""samconfig.toml: what `sam deploy --config-env TENANT` is told."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from batchctl.tenants.catalogue import Tenant

_HEAD: Final = """\
# Generated from tenants/tenants.yaml by `batchctl tenants render`: edit that file, not this one.
#
# `default` builds, and deploys what is no tenant's; `local` is what batchctl deploys on the local
# cloud, to which it adds the stack's name, the bucket and the tenant's own parameters. Every other
# section is a tenant: sam deploy --config-env TENANT
version = 0.1

[default.global.parameters]
template_file = "template.yaml"

[default.build.parameters]
template_file = "template.yaml"
cached = true
parallel = true

[default.deploy.parameters]
template_file = ".aws-sam/build/template.yaml"
stack_name = "express-batch-demo"
resolve_s3 = true
capabilities = "CAPABILITY_IAM"
confirm_changeset = true
fail_on_empty_changeset = false

[local.deploy.parameters]
capabilities = "CAPABILITY_IAM"
# Every concurrent invocation is a process of this machine.
parameter_overrides = [
  "ChunkConcurrency=3",
  "GroupConcurrency=4",
]
"""


def render(tenants: Iterable[Tenant]) -> str:
    """Return the file for some tenants."""
    return "\n".join([_HEAD, *(_section(tenant) for tenant in tenants)])


def _section(tenant: Tenant) -> str:
    lines = [
        f"[{tenant.name}.deploy.parameters]",
        'template_file = ".aws-sam/build/template.yaml"',
        f'stack_name = "{tenant.stack}"',
        f'region = "{tenant.region}"',
        "resolve_s3 = true",
        f's3_prefix = "{tenant.stack}"',
        'capabilities = "CAPABILITY_IAM"',
        "confirm_changeset = true",
        "fail_on_empty_changeset = false",
        *_pairs("parameter_overrides", tenant.parameters),
        *_pairs("tags", tenant.tags),
    ]
    return "\n".join(lines) + "\n"


def _pairs(name: str, pairs: Mapping[str, str]) -> list[str]:
    if not pairs:
        return []
    return [f"{name} = [", *(f"  {json.dumps(_pair(*each))}," for each in pairs.items()), "]"]


def _pair(name: str, value: str) -> str:
    """Write a pair as sam reads it, which takes text with blanks or quotes in quotes only."""
    parts = (name, value)
    quoted = (part if re.fullmatch(r"[\w:/.,+@-]+", part) else json.dumps(part) for part in parts)
    return "=".join(quoted)
