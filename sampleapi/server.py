"""The HTTP side: aiohttp's low-level server, since routing would cost more than answering."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from sampleapi.activity import answer
from sampleapi.behaviour import BadRequestError, Behaviour, Scripted, as_object
from sampleapi.scores import credential, score


class SampleApi:
    """Answers for every tenant; the tenant is the first part of the path."""

    def __init__(self) -> None:
        self._tenants: defaultdict[str, Behaviour] = defaultdict(Behaviour)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        # Split before decoding: an account may hold a slash.
        path = request.raw_path.partition("?")[0]
        match [unquote(part) for part in path.split("/")[1:]]:
            case ["healthz"]:
                return web.Response(text="ok")
            case ["_admin", tenant, action]:
                return await self._admin(tenant, action, request)
            case [tenant, "users", account, "activity"] if request.method == "GET":
                return await self._answer(tenant, account, request, self._activity)
            case [tenant, "scores"] if request.method == "POST":
                try:
                    customer = str((await request.json())["customer"]["id"])
                except (ValueError, KeyError, TypeError):
                    return _json({"error": "customer.id is missing"}, status=400)
                return await self._answer(tenant, customer, request, self._score)
        return _json({"error": "there is nothing here"}, status=404)

    async def _answer(
        self, tenant: str, account: str, request: web.BaseRequest, compose: Any
    ) -> web.StreamResponse:
        behaviour = self._tenants[tenant]
        behaviour.in_flight += 1
        behaviour.in_flight_peak = max(behaviour.in_flight_peak, behaviour.in_flight)
        behaviour.conditional += "If-None-Match" in request.headers
        try:
            scripted = behaviour.next_scripted(account)
            fault = behaviour.fault(account)
            delay = scripted.delay_ms / 1000 if scripted else behaviour.delay(account)
            if delay:
                await asyncio.sleep(delay)
            if scripted:
                return await _act(scripted, request, behaviour)
            response: web.StreamResponse
            if fault:
                response = _json({"error": "as ordered"}, status=fault)
                if fault == web.HTTPTooManyRequests.status_code:
                    response.headers["Retry-After"] = behaviour.settings.retry_after
            else:
                response = compose(tenant, account, request, behaviour)
            behaviour.by_status[response.status] += 1
            return response
        finally:
            behaviour.in_flight -= 1

    @staticmethod
    def _activity(
        tenant: str, account: str, request: web.BaseRequest, behaviour: Behaviour
    ) -> web.Response:
        etag, body = answer(tenant, account, behaviour.revisions.get(account, 0))
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=body, headers={"ETag": etag, "Content-Type": "application/json"})

    @staticmethod
    def _score(
        _tenant: str, customer: str, request: web.BaseRequest, _behaviour: Behaviour
    ) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {credential(customer)}":
            return _json({"error": "the credential is not this customer's"}, status=401)
        return _json(score(customer))

    async def _admin(self, tenant: str, action: str, request: web.BaseRequest) -> web.Response:
        behaviour = self._tenants[tenant]
        try:
            given = as_object(await request.json()) if request.can_read_body else {}
            match request.method, action:
                case "GET", "stats":
                    return _json(behaviour.stats(per_user="per_user" in request.query))
                case "GET", "revisions":
                    return _json(behaviour.revisions)
                case "POST", "reset":
                    behaviour.reset()
                case "PUT", "settings":
                    behaviour.behave(behaviour.settings.changed(given))
                case "POST", "scripts":
                    behaviour.script(given)
                case "POST", "touch":
                    behaviour.touch(given.get("accounts"))
                case _:
                    return _json({"error": f"there is no {request.method} {action}"}, status=404)
        except (BadRequestError, ValueError) as error:
            return _json({"error": str(error)}, status=400)
        return _json({})


async def _act(
    scripted: Scripted, request: web.BaseRequest, behaviour: Behaviour
) -> web.StreamResponse:
    behaviour.by_status[0 if scripted.close else scripted.status] += 1
    if scripted.close:
        assert request.transport is not None
        request.transport.close()
        return web.Response()
    body = scripted.body.encode()
    if not scripted.truncate:
        return web.Response(status=scripted.status, body=body, headers=dict(scripted.headers))
    response = web.StreamResponse(status=scripted.status, headers=dict(scripted.headers))
    response.content_length = len(body) + 100
    await response.prepare(request)
    await response.write(body)
    assert request.transport is not None
    request.transport.close()
    return response


def _json(value: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(),
        status=status,
        headers={"Content-Type": "application/json"},
    )


async def serve(host: str, port: int) -> web.ServerRunner:
    """Start listening; `addresses` of what is returned tell where."""
    server = web.Server(SampleApi().handle, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=1)  # slow answers are not waited for
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=2048).start()
    return runner
