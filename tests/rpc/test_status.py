"""Every error on purpose has its status code and its details, through a real trailer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from cis_client.v1 import admin_service_pb2 as admin
from cis_client.v1 import admin_service_pb2_grpc as admin_grpc
from cis_server import errors
from cis_server.errors import CisError
from cis_server.rpc.status import abort, code_name, internal, status_of, unimplemented

CASES: dict[type[CisError], tuple[CisError, str, type | None]] = {
    errors.InvalidInput: (
        errors.InvalidInput("lead.email", "has no @", ("lead.phone", "is long")),
        "INVALID_ARGUMENT",
        error_details_pb2.BadRequest,
    ),
    errors.NotFound: (errors.NotFound("lead", "l-1"), "NOT_FOUND", error_details_pb2.ResourceInfo),
    errors.PreconditionFailed: (
        errors.PreconditionFailed("TOO_FEW", "7 of 20", {"conversions": 7}),
        "FAILED_PRECONDITION",
        error_details_pb2.ErrorInfo,
    ),
    errors.DeadlinePassed: (errors.DeadlinePassed("over"), "DEADLINE_EXCEEDED", None),
    errors.Overloaded: (
        errors.Overloaded("full", 1.5),
        "RESOURCE_EXHAUSTED",
        error_details_pb2.RetryInfo,
    ),
    errors.StoreUnavailable: (
        errors.StoreUnavailable("away", 0.25),
        "UNAVAILABLE",
        error_details_pb2.RetryInfo,
    ),
    errors.DataError: (errors.DataError("secret row"), "INTERNAL", None),
    errors.ConfigurationError: (errors.ConfigurationError("secret path"), "INTERNAL", None),
}


class Failing(admin_grpc.AdminServiceServicer):
    status: status_pb2.Status

    def GetClient(  # noqa: N802 - named by the contract
        self, request: admin.GetClientRequest, context: grpc.ServicerContext
    ) -> admin.GetClientResponse:
        del request
        abort(context, self.status)


@pytest.fixture(scope="module")
def ask() -> Iterator[Callable[[status_pb2.Status], grpc.Call]]:
    servicer = Failing()
    server = grpc.server(ThreadPoolExecutor(1))
    admin_grpc.add_AdminServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:

        def call(status: status_pb2.Status) -> grpc.Call:
            servicer.status = status
            with pytest.raises(grpc.RpcError) as refused:
                admin_grpc.AdminServiceStub(channel).GetClient(
                    admin.GetClientRequest(client_id="c"), timeout=5
                )
            return refused.value

        yield call
    server.stop(0).wait()


def test_every_error_has_its_case() -> None:
    def below(kind: type[CisError]) -> set[type[CisError]]:
        return {kind, *(leaf for child in kind.__subclasses__() for leaf in below(child))}

    ours = {kind for kind in below(CisError) if kind.__module__ == errors.__name__}
    assert ours - {CisError} == set(CASES)


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_code_and_details_reach_the_caller(
    kind: type[CisError], ask: Callable[[status_pb2.Status], grpc.Call]
) -> None:
    error, code, detail = CASES[kind]
    call = ask(status_of(error))
    assert call.code().name == code
    status = rpc_status.from_call(call)
    assert status is not None
    assert code_name(status) == code
    kinds = [any_.TypeName() for any_ in status.details]
    assert kinds == ([detail.DESCRIPTOR.full_name] if detail else [])
    assert "secret" not in call.details()


def detail_of(error: CisError, into: type) -> error_details_pb2.BadRequest:
    found = into()
    assert status_of(error).details[0].Unpack(found)
    return found


def test_details_say_what_the_error_says() -> None:
    bad = detail_of(CASES[errors.InvalidInput][0], error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("lead.email", "has no @"),
        ("lead.phone", "is long"),
    ]
    missing = detail_of(CASES[errors.NotFound][0], error_details_pb2.ResourceInfo)
    assert (missing.resource_type, missing.resource_name) == ("lead", "l-1")
    few = detail_of(CASES[errors.PreconditionFailed][0], error_details_pb2.ErrorInfo)
    assert (few.reason, few.domain, few.metadata) == ("TOO_FEW", "cis", {"conversions": "7"})
    shed = detail_of(CASES[errors.Overloaded][0], error_details_pb2.RetryInfo)
    assert shed.retry_delay.ToMilliseconds() == 1500
    away = detail_of(CASES[errors.StoreUnavailable][0], error_details_pb2.RetryInfo)
    assert away.retry_delay.ToMilliseconds() == 250


def test_faults_carry_only_an_id() -> None:
    status = internal("abc")
    assert (status.code, status.message) == (code_pb2.INTERNAL, "internal error abc")
    status = unimplemented("/cis.v1.X/Y")
    assert (code_name(status), status.message) == (
        "UNIMPLEMENTED",
        "/cis.v1.X/Y is not served by this release",
    )
