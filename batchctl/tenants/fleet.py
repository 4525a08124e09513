"""The fleet as CodePipeline takes it: waves cut into stages, stages into pipelines. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batchctl.tenants.catalogue import Tenant

# None of them can be raised.
# https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
ACTIONS_PER_STAGE: Final = 50
ACTIONS_PER_PIPELINE: Final = 500
STAGES_PER_PIPELINE: Final = 50

CANARY: Final = "Canary"
# Change set, deployment and verification.
ACTIONS_PER_TENANT: Final = 3
TENANTS_PER_STAGE: Final = ACTIONS_PER_STAGE // ACTIONS_PER_TENANT

# What a pipeline has besides the stages of tenants: the first one fetches, updates itself, builds
# and asks, a later one fetches two artifacts; each may hand two artifacts on and start the next.
_FIRST: Final = (4, 4)
_LATER: Final = (1, 2)
_NEXT: Final = (1, 3)


@dataclass(frozen=True, slots=True)
class Stage:
    """Tenants that are deployed side by side."""

    name: str
    tenants: tuple[Tenant, ...]

    @property
    def actions(self) -> int:
        """How many actions of a pipeline it takes."""
        return ACTIONS_PER_TENANT * len(self.tenants)


def stages(tenants: Iterable[Tenant]) -> Iterator[Stage]:
    """Cut the waves into stages: the canary first, a wave that one stage cannot hold in several."""
    waves: dict[int, list[Tenant]] = defaultdict(list)
    for tenant in tenants:
        waves[tenant.wave].append(tenant)
    for wave, members in sorted(waves.items()):
        parts = list(batched(members, TENANTS_PER_STAGE, strict=False))
        name = f"Wave{wave}" if wave else CANARY
        for number, part in enumerate(parts, 1):
            yield Stage(name if len(parts) == 1 else f"{name}-{number}", part)


def widest(tenants: Iterable[Tenant]) -> int:
    """How many tenants the widest stage deploys, and verifies, side by side."""
    return max((len(stage.tenants) for stage in stages(tenants)), default=0)


def pipelines(tenants: Iterable[Tenant]) -> list[list[Stage]]:
    """Cut the stages into pipelines, each of which starts the next when it is through."""
    found: list[list[Stage]] = [[]]
    room = _room(_FIRST)
    for stage in stages(tenants):
        if room[0] < 1 or room[1] < stage.actions:
            found.append([])
            room = _room(_LATER)
        found[-1].append(stage)
        room = (room[0] - 1, room[1] - stage.actions)
    return found


def _room(taken: tuple[int, int]) -> tuple[int, int]:
    """How many stages and actions of tenants a pipeline can have."""
    return (
        STAGES_PER_PIPELINE - taken[0] - _NEXT[0],
        ACTIONS_PER_PIPELINE - taken[1] - _NEXT[1],
    )
