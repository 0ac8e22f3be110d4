"""Options: what is refused, what stays secret, and encrypted connections."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from client_test_server import running

import cis_client
from cis_client import ClientOptions, TlsOptions
from cis_client.v1.core_pb2 import Lead
from cis_client.v1.scoring_service_pb2 import ScoreLeadRequest

REQUEST = ScoreLeadRequest(client_id="echo", lead=Lead(lead_id="abc"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": ""},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"batch_timeout_seconds": -1},
        {"stream_timeout_seconds": 0},
        {"retry_attempts": 0},
        {"retry_attempts": 6},
        {"retry_backoff_seconds": 0},
        {"retry_backoff_max_seconds": 0},
        {"connections": 0},
        {"max_message_bytes": 10},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ClientOptions(**wrong)


@pytest.mark.parametrize("target", ["cis:50051", "dns:///cis:50051", "10.0.0.7:50051"])
def test_tokens_do_not_travel_unencrypted(target: str) -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        ClientOptions(target=target, token="secret")
    ClientOptions(target=target, token="secret", tls=TlsOptions())
    ClientOptions(target=target, token="secret", allow_plaintext_token=True)


@pytest.mark.parametrize(
    "target",
    ["127.0.0.1:1", "localhost:1", "[::1]:1", "ipv6:[::1]:1", "dns:///localhost:1", "unix:/tmp/s"],
)
def test_tokens_may_stay_on_this_machine(target: str) -> None:
    assert ClientOptions(target=target, token="secret").token == "secret"


def test_secrets_are_not_shown() -> None:
    tls = TlsOptions(client_certificate=b"public", client_key=b"secret")
    assert "secret" not in repr(ClientOptions(token="secret", tls=tls))


def test_certificate_and_key_come_together() -> None:
    with pytest.raises(ValueError, match="together"):
        TlsOptions(client_key=b"key")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Key and self-signed certificate for ``cis.test``."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate, and is not here")
    folder: Path = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=cis.test"]
    command += ["-addext", "subjectAltName=DNS:cis.test", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return key.read_bytes(), cert.read_bytes()


def test_encrypted_with_certificates_on_both_sides(
    certificate: tuple[bytes, bytes], connect: Callable[..., Any]
) -> None:
    key, cert = certificate
    credentials = grpc.ssl_server_credentials(
        [(key, cert)], root_certificates=cert, require_client_auth=True
    )
    with running(credentials=credentials) as server:
        trusted = TlsOptions(
            root_certificates=cert,
            client_certificate=cert,
            client_key=key,
            server_name="cis.test",
        )
        client = connect(server.target, tls=trusted, token="secret")
        assert client.score_lead(REQUEST).score == 3
        assert server.seen.metadata[0]["authorization"] == "Bearer secret"

        nameless = TlsOptions(root_certificates=cert, client_certificate=cert, client_key=key)
        stranger = connect(server.target, tls=nameless, wait_for_ready=False, retry_attempts=1)
        with pytest.raises(cis_client.Unavailable):
            stranger.score_lead(REQUEST)
