"""Plays a push through the stages of a pipeline as CodePipeline does. Whoever does the actions is
given; nothing here knows of AWS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from tests.rehearsal.pipeline import Action, Stage


class ActionError(Exception):
    """An action did not succeed; the text says why."""


@dataclass(frozen=True)
class Push:
    """What went into the pipeline: a commit, and the package that a stage of it makes."""

    number: int
    commit: str
    title: str


class Actor(Protocol):
    """Does the actions."""

    def perform(self, action: Action, push: Push) -> str:
        """Do one, and say in a few words what came of it. Raises ActionError when it fails."""


@dataclass(frozen=True)
class Done:
    """What became of one action.

    Attributes
    ----------
    rolling_back
        Whether it was done to bring back what had been there before.
    """

    push: Push
    stage: str
    action: str
    ok: bool
    seconds: float
    told: str
    rolling_back: bool = False


@dataclass(frozen=True)
class Passage:
    """What became of one push.

    Attributes
    ----------
    stopped_in
        The stage that failed; empty when it went through all of them.
    rolled_back_to
        The push that the failed stage has back; None when nothing was rolled back.
    """

    push: Push
    done: Sequence[Done]
    stopped_in: str = ""
    rolled_back_to: Push | None = None


@dataclass
class Pipeline:
    """A pipeline over many pushes, which remembers what went through each of its stages."""

    actor: Actor
    show: Callable[[Done], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    _structure: Sequence[Stage] = ()
    _good: dict[str, Push] = field(default_factory=dict)

    def play(self, push: Push, stages: Sequence[Stage]) -> Passage:
        """Let a push go from stage to stage until one fails, and roll that one back if it says so.

        A stage goes back to what went through it last, unless the pipeline has changed since.
        https://docs.aws.amazon.com/codepipeline/latest/userguide/stage-rollback.html
        """
        if stages != self._structure:
            self._structure, self._good = stages, {}
        done: list[Done] = []
        for stage in stages:
            done += (of_stage := list(self._stage(stage, push)))
            if all(each.ok for each in of_stage):
                self._good[stage.name] = push
                continue
            before = self._good.get(stage.name) if stage.rolls_back else None
            if before is not None:
                done += self._stage(stage, before, rolling_back=True)
            return Passage(push, done, stage.name, before)
        return Passage(push, done)

    def _stage(self, stage: Stage, push: Push, *, rolling_back: bool = False) -> Iterator[Done]:
        for together in stage.steps():
            with ThreadPoolExecutor(len(together)) as pool:
                of_step = list(
                    pool.map(
                        lambda action: self._action(stage, action, push, rolling_back), together
                    )
                )
            yield from of_step
            if not all(each.ok for each in of_step):
                return

    def _action(self, stage: Stage, action: Action, push: Push, rolling_back: bool) -> Done:
        started = self.clock()
        try:
            told, ok = self.actor.perform(action, push), True
        except ActionError as error:
            told, ok = str(error), False
        seconds = self.clock() - started
        done = Done(push, stage.name, action.name, ok, seconds, told, rolling_back)
        self.show(done)
        return done
