#!/usr/bin/env python3
"""A model backend for Symphony: handshake, ping and l4m get_info over one ROUTER socket.

Symphony starts it as `python3 -u backend.py --ipc-endpoint ipc://… [--model-name …]`, asks it for its handshake until
it answers, then leads clients to it. Put your model where `load_model` and `handle_l4m` are.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

import zmq
from google.protobuf.message import DecodeError

# modules made by generate.py; installed ones are found without it
sys.path.append(str(Path(__file__).resolve().parent / "generated"))
import handshake_pb2  # noqa: E402
import l4m_pb2  # noqa: E402
import ping_pb2  # noqa: E402

VERSION = "0.1.0"
BLOCK_SIZE = 16


def load_model(name: str) -> str:
    """Loads the weights; this example has none. What is printed here shows in `symphony logs`."""
    print(f"loading {name or 'no model'}", flush=True)
    return name


def handle_ping(_model: str, payload: bytes) -> bytes:
    ping = ping_pb2.Ping.FromString(payload)
    return ping_pb2.Pong(correlation_id=ping.correlation_id, message="Pong:" + ping.message).SerializeToString()


def handle_l4m(model: str, payload: bytes) -> bytes | None:
    request = l4m_pb2.Request.FromString(payload)
    response = l4m_pb2.Response(correlation_id=request.correlation_id)
    command = request.WhichOneof("command")
    if command == "get_info":
        response.get_info.version = VERSION
        response.get_info.model_name = model
        response.get_info.block_size = BLOCK_SIZE
    elif command == "sample_top_k_request":
        # one sample for each one asked for; without a model it holds no tokens
        for _ in request.sample_top_k_request.items:
            response.sample_top_k.items.add()
        response.sample_top_k.SetInParent()
    else:
        # the other commands have no answer
        return None
    return response.SerializeToString()


# the position of a protocol is the index byte that clients send
PROTOCOLS = [("l4m", handle_l4m), ("ping", handle_ping)]


def greet(request: bytes) -> tuple[bytes, bool]:
    try:
        handshake_pb2.Request.FromString(request)
    except DecodeError:
        return b"\x00", False
    names = [name for name, _ in PROTOCOLS]
    return handshake_pb2.Response(protocols=names).SerializeToString(), True


def serve(router: zmq.Socket, model: str) -> None:
    greeted: set[bytes] = set()
    while True:
        identity, *frames = router.recv_multipart()
        if len(frames) == 1 or identity not in greeted:
            reply, ok = greet(frames[0]) if len(frames) == 1 else (b"\x00", False)
            if ok:
                greeted.add(identity)
            router.send_multipart([identity, reply])
            continue
        try:
            index, payload = frames
            _, handle = PROTOCOLS[int.from_bytes(index, "little")]
            answer = handle(model, payload)
        except (ValueError, IndexError, DecodeError) as error:
            print(f"message refused: {error!r}", file=sys.stderr, flush=True)
            continue
        if answer is not None:
            router.send_multipart([identity, index, answer])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ipc-endpoint", required=True)
    parser.add_argument("--model-name", default="")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.umask(0o077)

    model = load_model(args.model_name)
    # bind after loading: a handshake that is answered means that the model can be used
    router = zmq.Context.instance().socket(zmq.ROUTER)
    router.linger = 0
    router.bind(args.ipc_endpoint)
    print(f"serving on {args.ipc_endpoint}", flush=True)
    serve(router, model)


if __name__ == "__main__":
    main()
