"""The alarms of a stack that has all of them, by name; and which of them are to wake somebody."""

from __future__ import annotations

from tests.template.deployed import Deployed

EVERYTHING = Deployed(ScheduleState="ENABLED", CreateDatabaseProxy="true")
ALARMS = EVERYTHING.of_type("CloudWatch::Alarm")
(PAGE,) = EVERYTHING.of_type("CloudWatch::CompositeAlarm").values()
NAMES = {each["AlarmName"].removeprefix("batch-acme-"): each for each in [*ALARMS.values(), PAGE]}
PAGING = {"dead-man", "coverage", "accounting", "timed-out", "writer-behind", "rows-lost"}
