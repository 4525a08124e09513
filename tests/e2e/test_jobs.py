"""Other jobs, through the same template and machinery."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from batchctl.errors import BatchctlError
from batchctl.local.cloud import LocalCloud
from sampleapi.scores import credential, score
from tests.support.checkout import ROOT, checkout

SHIPPED = ROOT / "layers" / "job"


def execute(cloud: LocalCloud, tenant: str) -> dict[str, Any]:
    """Run the tenant's batch once and return what Step Functions answers."""
    workflow = cloud.client("stepfunctions", read_timeout=300)
    given = {"scheduled_time": datetime.now(UTC).isoformat(timespec="milliseconds")}
    answer: dict[str, Any] = workflow.start_sync_execution(
        stateMachineArn=cloud.stack(tenant).state_machine_arn, input=json.dumps(given)
    )
    return answer


def written_job(folder: Path, *replacements: tuple[str, str]) -> Path:
    """The shipped job with a mistake written into it."""
    text = (SHIPPED / "job.py").read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / "schema").mkdir(parents=True)
    for file in (SHIPPED / "schema").iterdir():
        (folder / "schema" / file.name).write_bytes(file.read_bytes())
    (folder / "job.py").write_text(text, encoding="utf-8")
    return folder


def test_the_second_job_posts_with_a_credential_per_user_and_stores_nested_json(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    template = checkout(tmp_path, ROOT / "examples" / "credit_score")
    cloud.deploy("scores", template=template)
    customers = [(n, f"c/{n}", credential(f"c/{n}")) for n in range(1, 131)]
    customers[129] = (130, "c/130", "token-stolen")
    with cloud.database("scores") as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO customer (customer_id, customer_no, credential) VALUES (%s, %s, %s)",
            customers,
        )

    ended = execute(cloud, "scores")

    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    outcomes = json.loads(ended["output"])["outcomes"]
    assert (outcomes["stored"], outcomes["rejected"]) == (129, 1)
    with cloud.database("scores") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT user_id, score, band, reasons FROM credit_score ORDER BY user_id")
        stored = {row[0]: (row[1], row[2], json.loads(row[3])) for row in cursor}
    served = {n: score(f"c/{n}")["result"] for n in range(1, 130)}
    assert stored == {
        n: (told["score"]["value"], told["score"]["band"], told["reasons"])
        for n, told in served.items()
    }


def test_a_job_that_raises_for_one_user_rejects_that_user_alone(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    raises = (
        "    told = response.json()\n",
        "    told = response.json()\n    1 / (user['user_id'] - 5)\n",
    )
    job = written_job(tmp_path / "job", raises)
    (tmp_path / "checkout").mkdir()
    cloud.deploy("raising", template=checkout(tmp_path / "checkout", job))
    with cloud.database("raising") as connection, connection.cursor() as cursor:
        values = ",".join(f"({n}, 'u-{n}')" for n in range(1, 31))
        cursor.execute(f"INSERT INTO users (user_id, account) VALUES {values}")

    outcomes = json.loads(execute(cloud, "raising")["output"])["outcomes"]

    assert (outcomes["stored"], outcomes["rejected"]) == (29, 1)


def test_a_job_whose_query_is_wrong_stops_the_deployment_with_what_the_database_said(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    job = written_job(tmp_path / "job", ("u.account, a.etag", "u.acount, a.etag"))
    (tmp_path / "checkout").mkdir()

    with pytest.raises(BatchctlError, match=r"users query: 1054: .*u\.acount"):
        cloud.deploy("typo", template=checkout(tmp_path / "checkout", job))


def test_a_job_that_does_not_import_stops_the_deployment_with_its_error(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    job = written_job(tmp_path / "job", ("JOB = Job(", "JOB = Jop("))
    (tmp_path / "checkout").mkdir()

    with pytest.raises(BatchctlError, match="Jop"):
        cloud.deploy("broken", template=checkout(tmp_path / "checkout", job))


def test_a_template_that_does_not_build_stops_with_what_sam_said(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    template = checkout(tmp_path, SHIPPED)
    (tmp_path / "layers" / "job" / "job.py").unlink()

    with pytest.raises(BatchctlError, match=r"(?s)sam build failed.*job\.py"):
        cloud.deploy("broken", template=template)
