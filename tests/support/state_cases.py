"""Writes what must come of each case of `batchctl.states`: `python -m tests.support.state_cases`.

The reference JSONata engine says it. Read the difference before you commit it: it is what Step
Functions will be held to.
"""

from __future__ import annotations

import json
from typing import Any

from batchctl.states.cases import EXPECTED, Ending, cases
from batchctl.states.trial import checkouts_definition
from tests.support.asl import Machine
from tests.support.jsonata import Jsonata


def endings(jsonata: Jsonata) -> dict[str, dict[str, Any]]:
    """What the reference engine makes of each case, by its name."""
    definition = checkouts_definition()
    machine = Machine(definition, jsonata, lambda *_: None)
    return {
        case.name: Ending.of(machine.answer(case.request(definition))).to_json() for case in cases()
    }


if __name__ == "__main__":
    with Jsonata() as engine:
        found = endings(engine)
    lines = (f" {json.dumps(name)}: {json.dumps(ending)}" for name, ending in found.items())
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
