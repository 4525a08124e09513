"""A claim: a typed pointer to what one state hands to the next.

Small values travel in the state itself, middling ones compressed, large ones in S3 under a key that
a retry overwrites. Whoever redeems a claim gets exactly what was put, or one clear error.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from batch_core.codec import compress, decompress, dump_json, parse_json
from batch_core.errors import (
    PayloadAlteredError,
    PayloadForeignError,
    PayloadTooLargeError,
)
from batch_core.limits import CLAIM_BYTES, CLAIM_COMPRESSED_BYTES, CLAIM_INLINE_BYTES
from batch_core.ports import PayloadStore
from batch_core.run import Run


def put(value: Any, *, run: Run, name: str, store: PayloadStore) -> dict[str, Any]:
    """Make a claim for a value.

    Parameters
    ----------
    value
        Anything with a JSON form.
    run, name
        Where it goes if it has to go to S3: the same for every attempt, so that a retry overwrites.
    store
        Used only for values too large for a state.

    Returns
    -------
    The claim, as JSON. ``kind`` is ``inline``, ``zlib`` or ``s3``.

    Raises
    ------
    PayloadTooLargeError
        Beyond `limits.CLAIM_BYTES`.
    """
    plain = dump_json(value)
    if len(plain) > CLAIM_BYTES:
        raise PayloadTooLargeError(f"{name} holds {len(plain)} bytes; {CLAIM_BYTES} are allowed")
    if len(plain) <= CLAIM_INLINE_BYTES:
        # As text: the workflow's language would round numbers, a user's id above all.
        return {"kind": "inline", "text": plain.decode()}
    digest = sha256(plain).hexdigest()
    packed = compress(plain)
    # base64 makes four bytes of three.
    if len(packed) * 4 // 3 <= CLAIM_COMPRESSED_BYTES:
        return {"kind": "zlib", "data": b64encode(packed).decode(), "sha256": digest}
    return _stored(packed, digest, run=run, name=name, store=store)


def spill(plain: bytes, *, run: Run, name: str, store: PayloadStore) -> dict[str, Any]:
    """Make a claim for JSON text that goes to S3 whatever its size, as `put` names it."""
    digest = sha256(plain).hexdigest()
    return _stored(compress(plain), digest, run=run, name=name, store=store)


def _stored(
    packed: bytes, digest: str, *, run: Run, name: str, store: PayloadStore
) -> dict[str, Any]:
    key = f"{run.prefix}/claims/{name}"
    store.put(key, packed, metadata={"run-id": run.id})
    return {"kind": "s3", "key": key, "bytes": len(packed), "sha256": digest}


def redeem(claim: Mapping[str, Any], *, run: Run, store: PayloadStore) -> Any:
    """Get the value of a claim.

    Raises
    ------
    PayloadMissingError
        When its object is gone.
    PayloadForeignError
        When it points outside its run.
    PayloadAlteredError
        When what is found is not what was put.
    """
    match claim:
        case {"kind": "inline", "text": str(text)}:
            try:
                return parse_json(text)
            except ValueError as error:
                raise PayloadAlteredError(f"the claim cannot be read: {error}") from error
        case {"kind": "zlib", "data": str(data), "sha256": str(digest)}:
            try:
                packed = b64decode(data, validate=True)
            except ValueError as error:
                raise PayloadAlteredError(f"the claim cannot be read: {error}") from error
        case {"kind": "s3", "key": str(key), "bytes": int(size), "sha256": str(digest)}:
            if not key.startswith(f"{run.prefix}/claims/"):
                raise PayloadForeignError(f"the claim {key} does not belong to the run {run.id}")
            packed = store.get(key)
            if len(packed) != size:
                raise PayloadAlteredError(
                    f"the claim {key} holds {len(packed)} bytes instead of {size}"
                )
        case _:
            raise PayloadAlteredError(
                f"a claim of kind {claim.get('kind')!r} with {sorted(claim)} is unknown here"
            )
    try:
        plain = decompress(packed, limit=CLAIM_BYTES)
    except ValueError as error:
        raise PayloadAlteredError(f"the claim cannot be read: {error}") from error
    if sha256(plain).hexdigest() != digest:
        raise PayloadAlteredError("the claim's content is not what was put: its sha256 differs")
    return parse_json(plain)
