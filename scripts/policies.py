"""Look for what is wrong or wider than it says in policies, one file each, with parliament.

It runs in the gates' own environment. The command that parliament brings cannot leave out a finding
for one policy only: https://github.com/duo-labs/parliament has the option, and it matches nothing.
"""
# ruff: noqa: T201

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import parliament

# Finding: the policies in which it is known and right, and why.
KNOWN = {
    # Network interfaces have no ids beforehand; access.yaml allows whole services on purpose.
    "RESOURCE_STAR": "template.NetworkPolicy|access.(Boundary|ResourcesPolicy|VerifyRole.Verify)",
    # Whole services on a tenant's names, though some actions are about other things; a connection
    # is of one of two services, by its age.
    "RESOURCE_MISMATCH": "access.(Boundary|ResourcesPolicy)|pipeline.PipelineRole.Pipeline"
    "|pipeline-access.(Boundary|UpdateRole.Resources)",
    # It makes the bucket, with its policy and its lifecycle.
    "RESOURCE_POLICY_PRIVILEGE_ESCALATION": "pipeline-access.UpdateRole.Resources",
    # Documented for whatever a function's code calls:
    # https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html
    "UNKNOWN_CONDITION_FOR_ACTION": "template.NetworkPolicy",
    # The account of the SAM transform is called aws.
    "INVALID_ARN": "access.ResourcesPolicy",
    # As AWS writes it:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
    "MISMATCHED_TYPE_BUT_USABLE": "access.RolesPolicy|pipeline-access.UpdateRole.Roles",
}


def main() -> int:
    """Print every finding that is not known."""
    found = 0
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        policy = path.name.rsplit(".", 2)[0]
        for finding in parliament.analyze_policy_string(path.read_text(), path.name).findings:
            if re.fullmatch(KNOWN.get(finding.issue, ""), policy):
                continue
            found += 1
            parliament.enhance_finding(finding)
            print(f"{path.name}: {finding.issue} ({finding.title})")
            print(f"    {json.dumps(finding.detail, default=str)[:300]}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
