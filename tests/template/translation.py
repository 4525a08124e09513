"""The template as written, and as the SAM transform makes it; without an account."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
REGION = boto3.Session(region_name="ap-northeast-1")

type Json = dict[str, Any]


def written() -> Json:
    """The template as it stands in the file, short forms of functions written out."""
    template: Json = yaml_parse(TEMPLATE.read_text())
    return template


def translated() -> Json:
    """The template as CloudFormation gets it."""
    return deepcopy(_translated())


@cache
def _translated() -> Json:
    return translate(written())


def translate(template: Json) -> Json:
    """Do what the SAM transform does; a template without it is returned as it is."""
    if "Transform" not in template:
        return template
    for resource in template["Resources"].values():
        for name in ("CodeUri", "ContentUri", "DefinitionUri"):
            if name in resource.get("Properties", {}):
                # The transform runs behind `sam package`, which has uploaded the folder.
                resource["Properties"][name] = f"s3://packages/{resource['Properties'][name]}"
    cloudformation: Json = Translator({}, Parser(), boto_session=REGION).translate(template, {})
    return cloudformation


def of_type(template: Json, kind: str) -> dict[str, Json]:
    """The resources of one type, by logical id."""
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == f"AWS::{kind}"
    }


def properties(template: Json, name: str) -> Json:
    """The properties of a resource; a layer is found by the start of its id, a hash follows."""
    resources: Json = template["Resources"]
    found = resources.get(name) or next(
        resource for key, resource in resources.items() if key.startswith(name)
    )
    values: Json = found["Properties"]
    return values


def short(value: Any) -> str:
    """A value with intrinsic functions, short enough for a table."""
    match value:
        case {"Ref": str(name)}:
            return name
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{name}.{attribute}"
        case {"Fn::Sub": [str(text), {**names}]}:
            return f"{text} with {', '.join(map(str, names))}"
        case {"Fn::Sub": str(text)}:
            return text
    return str(value)
