#!/usr/bin/env python3
"""A client of Symphony: asks the service for a model, talks to its backend, and goes on when the backend dies.

    client.py --model NAME                     # through the service
    client.py --model-endpoint ipc:///tmp/...  # to a backend whose address is known
"""

import argparse
import json
import sys
import time
import uuid
from pathlib import Path

import zmq
from google.protobuf.message import DecodeError

# modules made by generate.py; installed ones are found without it
sys.path.append(str(Path(__file__).resolve().parent / "generated"))
import handshake_pb2  # noqa: E402
import l4m_pb2  # noqa: E402
import ping_pb2  # noqa: E402

BAD_HANDSHAKE = b"\x00"


class NoAnswer(Exception):
    """Nothing came in time; the backend may just be being restarted."""


class NotGreeted(Exception):
    """The backend does not know us (any more): it was restarted."""


def connect(endpoint: str) -> zmq.Socket:
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(endpoint)
    return socket


def receive(socket: zmq.Socket, patience: float) -> list[bytes]:
    if not socket.poll(int(patience * 1000)):
        raise NoAnswer
    return socket.recv_multipart()


def load_model(cli_endpoint: str, model: str, patience: float) -> str:
    """Asks the service for a model; answers the endpoint of its backend."""
    socket = connect(cli_endpoint)
    request = {
        "command": "load-model",
        "params": {"model_name": model, "wait": True},
        "correlation_id": str(uuid.uuid4()),
    }
    socket.send(json.dumps(request).encode())
    reply = json.loads(receive(socket, patience)[0])
    if not reply["success"]:
        sys.exit(f"Error loading model: {reply['error']}")
    return reply["data"]["endpoint"]


def service_protocols(handshake_endpoint: str, patience: float) -> list[str]:
    """What the service's backends speak."""
    socket = connect(handshake_endpoint)
    socket.send(handshake_pb2.Request().SerializeToString())
    return list(handshake_pb2.Response.FromString(receive(socket, patience)[0]).protocols)


class Backend:
    """One connection to a backend. ZeroMQ reconnects it; the handshake is up to us."""

    def __init__(self, endpoint: str, patience: float) -> None:
        self.socket = connect(endpoint)
        self.patience = patience
        self.protocols: list[str] = []
        self.last_id = 0

    def greet(self) -> None:
        self.socket.send(handshake_pb2.Request().SerializeToString())
        end = time.monotonic() + self.patience
        while True:
            frames = receive(self.socket, max(0.0, end - time.monotonic()))
            # late answers to earlier requests may come first
            if len(frames) == 1 and frames[0] != BAD_HANDSHAKE:
                self.protocols = list(handshake_pb2.Response.FromString(frames[0]).protocols)
                return

    def ask(self, protocol: str, request, response_type):
        """Sends one request and waits for the response with its correlation id."""
        self.last_id += 1
        request.correlation_id = self.last_id
        index = bytes([self.protocols.index(protocol)])
        self.socket.send_multipart([index, request.SerializeToString()])
        end = time.monotonic() + self.patience
        while True:
            frames = receive(self.socket, max(0.0, end - time.monotonic()))
            if frames == [BAD_HANDSHAKE]:
                raise NotGreeted
            if len(frames) == 2 and frames[0] == index:
                try:
                    response = response_type.FromString(frames[1])
                except DecodeError:
                    continue
                if response.correlation_id == self.last_id:
                    return response

    def ask_until_answered(self, protocol: str, make_request, response_type):
        """Asks again, after a new handshake, until there is an answer."""
        while True:
            try:
                if not self.protocols:
                    self.greet()
                    print(f"greeted: {', '.join(self.protocols)}", flush=True)
                return self.ask(protocol, make_request(), response_type)
            except (NoAnswer, NotGreeted) as reason:
                print(f"{type(reason).__name__}: trying again", flush=True)
                self.protocols = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--model")
    where.add_argument("--model-endpoint")
    parser.add_argument("--cli-endpoint", default="ipc:///tmp/symphony-cli")
    parser.add_argument("--handshake-endpoint", default="ipc:///tmp/symphony-ipc")
    parser.add_argument("--pings", type=int, default=3)
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between pings")
    parser.add_argument("--patience", type=float, default=2.0, help="seconds to wait for one answer of a backend")
    parser.add_argument("--load-patience", type=float, default=300.0, help="seconds to wait for a model to load")
    args = parser.parse_args()

    endpoint = args.model_endpoint
    if endpoint is None:
        try:
            endpoint = load_model(args.cli_endpoint, args.model, args.load_patience)
            print(f"endpoint: {endpoint}", flush=True)
            protocols = service_protocols(args.handshake_endpoint, args.patience)
            print(f"service speaks: {', '.join(protocols)}", flush=True)
        except NoAnswer:
            sys.exit("Service not responding (timeout)")

    backend = Backend(endpoint, args.patience)
    info_request = lambda: l4m_pb2.Request(get_info=l4m_pb2.GetInfoRequest())  # noqa: E731
    info = backend.ask_until_answered("l4m", info_request, l4m_pb2.Response).get_info
    print(f"info: model={info.model_name} version={info.version} block_size={info.block_size}", flush=True)
    for number in range(1, args.pings + 1):
        make_ping = lambda: ping_pb2.Ping(message=str(number))  # noqa: B023, E731
        pong = backend.ask_until_answered("ping", make_ping, ping_pb2.Pong)
        print(f"pong {number}: {pong.message}", flush=True)
        time.sleep(args.interval)


if __name__ == "__main__":
    main()
