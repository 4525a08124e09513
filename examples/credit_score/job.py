"""Each customer's credit score, from an API that takes a POST and a credential per customer."""

from __future__ import annotations

from batch_core.job import Job, RejectError, Request, Response, Row, Table, User


def request(user: User) -> Request:
    return Request(
        path="/scores",
        method="POST",
        headers={
            "Authorization": f"Bearer {user['credential']}",
            "Idempotency-Key": user["idempotency_key"],
        },
        json={"customer": {"id": user["customer_no"]}},
        repeatable=True,
    )


def process(_user: User, response: Response) -> Row:
    match response.json():
        case {
            "result": {
                "score": {"value": int(value), "band": "A" | "B" | "C" | "D" | "E" as band},
                "reasons": list(reasons),
            }
        }:
            return {"score": value, "band": band, "reasons": reasons}
    raise RejectError("result.score needs a whole number as value, and a band from A to E")


JOB = Job(
    users="""
        SELECT customer_id AS user_id, customer_no, credential
        FROM customer
        WHERE closed_at IS NULL
    """,
    table=Table("credit_score", columns=("score", "band", "reasons")),
    request=request,
    process=process,
)
