"""Dated price lists, one file per region."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Final

FALLBACK_REGION: Final = "ap-northeast-1"


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per unit in one region on one day; `unconfirmed` names the services in doubt.

    `yen` is what a dollar is taken for.
    """

    region: str
    as_of: date
    step_functions_request: float
    step_functions_gb_s: float
    lambda_request: float
    lambda_gb_s: Mapping[str, float]
    s3_put: float
    s3_get: float
    kinesis_put_unit: float
    kinesis_shard_hour: float
    logs_gb: float
    cloudwatch_metric_month: float
    cloudwatch_alarm_month: float
    cloudwatch_combined_alarm_month: float
    cloudwatch_dashboard_month: float
    rds_proxy_vcpu_hour: float
    rds_proxy_vcpus_min: int
    xray_trace: float
    yen: float
    sources: Mapping[str, str]
    unconfirmed: Sequence[str]

    @classmethod
    def parse(cls, text: str) -> Prices:
        """Read a price list; KeyError names what it lacks."""
        data = tomllib.loads(text)
        services = {name: value for name, value in data.items() if isinstance(value, dict)}
        return cls(
            region=data["region"],
            as_of=data["as_of"],
            step_functions_request=services["step_functions"]["usd_per_request"],
            step_functions_gb_s=services["step_functions"]["usd_per_gb_s"],
            lambda_request=services["lambda"]["usd_per_request"],
            lambda_gb_s=services["lambda"]["usd_per_gb_s"],
            s3_put=services["s3"]["usd_per_put"],
            s3_get=services["s3"]["usd_per_get"],
            kinesis_put_unit=services["kinesis"]["usd_per_put_unit"],
            kinesis_shard_hour=services["kinesis"]["usd_per_shard_hour"],
            logs_gb=services["logs"]["usd_per_gb"],
            cloudwatch_metric_month=services["cloudwatch"]["usd_per_metric_month"],
            cloudwatch_alarm_month=services["cloudwatch"]["usd_per_alarm_month"],
            cloudwatch_combined_alarm_month=services["cloudwatch"]["usd_per_combined_alarm_month"],
            cloudwatch_dashboard_month=services["cloudwatch"]["usd_per_dashboard_month"],
            rds_proxy_vcpu_hour=services["rds_proxy"]["usd_per_vcpu_hour"],
            rds_proxy_vcpus_min=services["rds_proxy"]["vcpus_min"],
            xray_trace=services["xray"]["usd_per_trace"],
            yen=data["yen_per_usd"],
            sources={name: service["source"] for name, service in services.items()},
            unconfirmed=[name for name, service in services.items() if not service["confirmed"]],
        )

    @classmethod
    def of_region(cls, region: str) -> Prices:
        """Read a region's list, or Tokyo's where there is none: see `region` of the answer."""
        folder = files("batchctl") / "prices"
        file = folder / f"{region}.toml"
        if not file.is_file():
            file = folder / f"{FALLBACK_REGION}.toml"
        return cls.parse(file.read_text(encoding="utf-8"))
