"""A version is published when its function gets something else, and never when it does not.

Lambda publishes nothing where nothing has changed since the last version, and CloudFormation takes
that for a failure: "A version for this Lambda function exists".
https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchctl.tenants.parameters import DIGEST, digest, of_a_deployment, text
from tests.template.rendered import GIVEN, Stack
from tests.template.translation import Json, of_type, translated

TEMPLATE = translated()
# For the description of a version, which holds 256 characters; ParametersDigest stands for them.
TOO_LONG = {"ApiBaseUrl", "ApiSecretArn", "DatabaseEndpoint", "DatabaseSecretArn"}
TOO_LONG |= {"DatabaseCaFile", "SubnetIds", "SecurityGroupIds", "DataKeyArn"}
# What Lambda keeps for the function, whatever its version, or takes from elsewhere.
NOT_OF_A_VERSION = ("ReservedConcurrentExecutions", "Tags")


def published(given: dict[str, str], template: Json = TEMPLATE) -> dict[str, tuple[str, str]]:
    """Of each published function, what it is made of, and the description of its version."""
    stack = Stack(template, given)
    made = {"Resources": stack.resources()}
    functions = of_type(made, "Lambda::Function")
    names = {stack.physical_name(name): name for name in functions}
    found = {}
    for version in of_type(made, "Lambda::Version").values():
        name = names[version["Properties"]["FunctionName"]]
        values = functions[name]["Properties"]
        parts = {key: each for key, each in values.items() if key not in NOT_OF_A_VERSION}
        found[name] = (json.dumps(parts, sort_keys=True), version["Properties"]["Description"])
    return found


def wrong(name: str, given: dict[str, str], template: Json = TEMPLATE) -> Iterator[str]:
    """What another value of a parameter publishes for nothing, or leaves unpublished."""
    parameter = template["Parameters"][name]
    value = given.get(name, text(parameter.get("Default", "given")))
    before = published(given, template)
    for other in others(parameter, value):
        after = published({**given, name: other}, template)
        for function in before:
            changed, described = (before[function][n] != after[function][n] for n in (0, 1))
            if described != (changed and name not in TOO_LONG):
                yield f"{function} {'would' if described else 'would not'} be published: {other}"


def others(parameter: Json, value: str) -> Iterator[str]:
    """Other values of a parameter."""
    if "AllowedValues" in parameter:
        yield from (text(each) for each in parameter["AllowedValues"] if text(each) != value)
    elif parameter["Type"] == "Number":
        bounds = (text(parameter[each]) for each in ("MinValue", "MaxValue"))
        yield from (each for each in bounds if each != value)
    else:
        yield f"{value}x"


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("name", [each for each in TEMPLATE["Parameters"] if each != DIGEST])
def test_a_parameter_publishes_the_functions_that_get_it_and_no_others(
    name: str, kind: str
) -> None:
    """Those that are too long for a description are in the digest, which batchctl works out."""
    assert list(wrong(name, GIVEN[kind])) == []


@pytest.mark.parametrize(
    ("parameter", "description", "said"),
    [
        ("ApiConcurrency", "${ParametersDigest}", "CallApiFunction would not be published: 1"),
        ("QuarantineAfter", "${QuarantineAfter}", "CallApiFunction would be published: 100"),
    ],
)
def test_a_description_that_names_too_little_or_too_much_is_found(
    parameter: str, description: str, said: str
) -> None:
    template = translated()
    (version,) = (
        each["Properties"]
        for each in of_type(template, "Lambda::Version").values()
        if each["Properties"]["FunctionName"] == {"Ref": "CallApiFunction"}
    )
    version["Description"] = {"Fn::Sub": description}

    assert said in list(wrong(parameter, GIVEN["bare"], template))


@pytest.mark.parametrize("kind", GIVEN)
def test_another_digest_changes_every_function_and_publishes_it(kind: str) -> None:
    before, after = (published({**GIVEN[kind], DIGEST: each}) for each in ("one", "other"))

    assert all(before[name][0] != after[name][0] for name in before)
    assert all(before[name][1] != after[name][1] for name in before)


# --- a deployment that is undone ------------------------------------------------------------------


class Exists(Exception):  # noqa: N818
    """A version for this Lambda function exists."""


class Function:
    """A function and its versions, as Lambda and CloudFormation treat them.

    CloudFormation gives the function its new form, publishes it, and then comes to what may fail.
    Undoing, it gives the function its old form again. The version stays: it is retained, since runs
    may be using it.
    """

    def __init__(self) -> None:
        self.form: Any = None
        self.versions: list[Any] = []

    def deploy(self, form: Any, *, fails: bool) -> None:
        before = self.form
        if form == before:
            return  # nothing to change
        if self.versions and self.versions[-1] == form:
            raise Exists
        self.form = form
        self.versions.append(form)
        if fails:
            self.form = before


def build(package: str, word: str) -> tuple[str, str]:
    """What a function gets of a package: its code, and the digest in its environment."""
    return package, of_a_deployment({"TenantId": "acme", DIGEST: digest({})}, word)[DIGEST]


deployments = st.lists(st.tuples(st.sampled_from("AB"), st.booleans()), max_size=12)


@given(deployments)
@example([("A", False), ("B", True), ("B", False)])
@example([("A", True), ("A", True), ("A", False)])
def test_a_build_can_be_deployed_again_whatever_became_of_the_last_deployment(
    sequence: list[tuple[str, bool]],
) -> None:
    function = Function()

    for number, (package, fails) in enumerate(sequence):
        function.deploy(build(package, f"build {number}"), fails=fails)

    good = [package for package, fails in sequence if not fails]
    assert (function.form or (None,))[0] == (good[-1] if good else None)


def test_without_a_word_of_its_own_the_same_build_would_be_undeployable() -> None:
    function = Function()
    function.deploy(build("A", ""), fails=False)
    function.deploy(build("B", ""), fails=True)

    with pytest.raises(Exists):
        function.deploy(build("B", ""), fails=False)


@given(st.dictionaries(st.sampled_from(["ApiBaseUrl", "TenantId"]), st.text(max_size=5)), st.text())
def test_a_deployment_changes_the_digest_and_nothing_else(given: dict[str, str], word: str) -> None:
    parameters = {**given, DIGEST: digest(given)}

    of_it = of_a_deployment(parameters, word)

    assert {**of_it, DIGEST: ""} == {**parameters, DIGEST: ""}
    assert of_it[DIGEST] != parameters[DIGEST]
    assert of_it == of_a_deployment(parameters, word)
