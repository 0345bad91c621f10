"""Who gets in: CURVE, the allow-list, and what strangers can do (nothing)."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import zmq
from helpers.servers import RunningServer, run_void
from void_client import keys
from void_client import messages as m
from void_client.client import Client
from void_client.errors import NotAuthorised, ServerUnreachable


@pytest.fixture
def running(tmp_path: Path):
    with RunningServer(tmp_path / "data") as server:
        yield server


def stranger(server: RunningServer, folder: Path) -> Client:
    keys.make_pair(folder, "stranger")
    settings = replace(server.settings, key_file=str(folder / "stranger.key_secret"), timeout_s=10.0)
    return Client(settings)


def test_a_stranger_is_refused_counted_and_told_what_to_do(running, tmp_path):
    with stranger(running, tmp_path) as client, pytest.raises(NotAuthorised, match="void keys allow"):
        client.hello()
    with running.client() as client:
        assert client.metrics()["keys_refused"] >= 1


def test_a_key_that_is_allowed_gets_in_without_a_restart(running, tmp_path):
    pair = keys.make_pair(tmp_path, "stranger")
    allowed = run_void("keys", "allow", "anna", pair.public, "--data", running.data)
    assert allowed.returncode == 0
    assert "anna" in run_void("keys", "list", "--data", running.data).stdout
    with stranger(running, tmp_path) as client:
        assert client.hello().protocol == 1


def test_a_revoked_key_is_refused_on_the_line_that_is_open(running, tmp_path):
    keys.allow(running.data / "keys" / "clients", "anna", keys.make_pair(tmp_path, "stranger").public)
    with stranger(running, tmp_path) as client:
        client.hello()
        assert run_void("keys", "revoke", "anna", "--data", running.data).returncode == 0
        with pytest.raises(NotAuthorised):
            client.hello()


def test_the_wrong_server_key_reaches_nobody(running, tmp_path):
    other = keys.make_pair(tmp_path, "other")
    settings = replace(running.settings, server_key=other.public, timeout_s=2.0)
    with Client(settings) as client, pytest.raises((NotAuthorised, ServerUnreachable)):
        client.hello()


def test_a_client_without_curve_gets_no_answer(running):
    context = zmq.Context()
    plain = context.socket(zmq.DEALER)
    plain.linger = 0
    plain.connect(running.endpoint)
    plain.send_multipart(m.encode(m.Health(), 1))
    assert not plain.poll(500)
    plain.close()
    context.term()


def test_garbage_peers_do_not_disturb_a_listed_client(running):
    host, port = running.endpoint.removeprefix("tcp://").split(":")
    peers = []
    for number in range(100):
        peer = socket.create_connection((host, int(port)), timeout=5)
        if number % 2:
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n" * 20)
        peers.append(peer)
    with running.client() as client:
        assert client.hello().protocol == 1
    for peer in peers:
        peer.close()


def test_malformed_messages_from_a_listed_client_get_a_typed_answer(running):
    settings = running.settings
    pair = keys.read_pair(Path(settings.key_file or ""))
    context = zmq.Context()
    line = context.socket(zmq.DEALER)
    line.linger = 0
    line.curve_serverkey = (settings.server_key or "").encode()
    line.curve_publickey, line.curve_secretkey = pair.public.encode(), pair.secret.encode()
    line.connect(running.endpoint)
    for parts in ([b"\xc1"], [b""], [b"\x80", b"x", b"y"], [b"\x91" * 1000], [b"x"] * 500):
        line.send_multipart(parts)
        assert line.poll(5000)
        answer = m.decode(line.recv_multipart()).message
        assert isinstance(answer, m.Failure)
        assert answer.code == "bad_message"
    line.close()
    context.term()
    with running.client() as client:
        assert client.hello().protocol == 1


def test_the_servers_secret_is_private_and_kept_over_a_restart(running):
    secret = running.data / "keys" / "server.key_secret"
    assert secret.stat().st_mode & 0o077 == 0
    before = secret.read_text()
    running.stop()
    running.start()
    assert secret.read_text() == before


def test_a_revoked_local_key_stays_revoked_over_a_restart(running):
    settings = running.settings
    keys.revoke(running.data / "keys" / "clients", "local")
    running.stop()
    running.start()
    with Client(replace(settings, timeout_s=10.0)) as client, pytest.raises(NotAuthorised):
        client.hello()


def test_one_folder_has_one_server(running):
    second = run_void("serve", "--data", running.data, "--bind", "tcp://127.0.0.1:*")
    assert second.returncode == 2
    assert "Another server" in second.stderr


def test_an_address_in_use_is_named(running, tmp_path):
    second = run_void("serve", "--data", tmp_path / "other", "--bind", running.endpoint)
    assert second.returncode == 2
    assert running.endpoint in second.stderr


def test_unknown_settings_are_errors(tmp_path):
    wrong = run_void("serve", "--data", tmp_path / "x", VOID_SERVER_MAX_QUEUE="1")
    assert wrong.returncode == 2
    assert "VOID_SERVER_MAX_QUEUE" in wrong.stderr
