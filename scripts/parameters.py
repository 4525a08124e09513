"""Write docs/parameters.md from the template, which is where parameters are described."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "parameters.md"

HEAD = """# Parameters

Every parameter of `template.yaml`, as the console groups them; written by `make docs`.
"""


def render(template: Mapping[str, Any]) -> str:
    """Return the page for a template."""
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    lines = [HEAD]
    for group in interface["ParameterGroups"]:
        lines += [f"## {group['Label']['default']}", ""]
        lines += ["| parameter | default | allowed | meaning |", "|---|---|---|---|"]
        for name in group["Parameters"]:
            parameter = template["Parameters"][name]
            label = interface["ParameterLabels"][name]["default"]
            meaning = f"{label}. {parameter['Description']}"
            lines.append(
                f"| `{name}` | {_default(parameter)} | {_allowed(parameter)} | {meaning} |"
            )
        lines.append("")
    return "\n".join(lines)


def _default(parameter: Mapping[str, Any]) -> str:
    if "Default" not in parameter:
        return "required"
    return f"`{parameter['Default']}`" if parameter["Default"] != "" else "empty"


def _allowed(parameter: Mapping[str, Any]) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(f"`{value}`" for value in parameter["AllowedValues"])
    if "MinValue" in parameter:
        return f"{parameter['MinValue']} to {parameter['MaxValue']}"
    return str(parameter.get("ConstraintDescription", "")).rstrip(".").lower()


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(yaml_parse((ROOT / "template.yaml").read_text("utf-8"))), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
