"""A command line as owners of the Python service have it: one DEALER for each command, two seconds of patience.

    two_second_client.py CONFIG COMMAND [MODEL]

It knows the configuration in the seed form and the keys of the Python service's replies, and nothing newer.
"""

import json
import sys
import uuid

import zmq

PATIENCE_MS = 2000


def ask(context: zmq.Context, endpoint: str, command: str, params: dict) -> dict:
    """One command, one reply, by the frames of the management contract."""
    correlation_id = str(uuid.uuid4())
    with context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)
        request = {"command": command, "params": params, "correlation_id": correlation_id}
        socket.send(json.dumps(request).encode("utf-8"))
        try:
            reply = json.loads(socket.recv().decode("utf-8"))
        except zmq.Again:
            sys.exit("Service not responding (timeout)")
        if socket.getsockopt(zmq.RCVMORE):
            sys.exit("a reply of more than one frame")
    if reply["correlation_id"] != correlation_id:
        sys.exit(f"a reply to another request: {reply}")
    if not reply["success"]:
        sys.exit(f"Error: {reply['error']}")
    return reply["data"]


def show(data: dict) -> None:
    print(f"Service Status: {data['service_status']}")
    print(f"Client Endpoint: {data['client_endpoint']}")
    print(f"CLI Endpoint: {data['cli_endpoint']}")
    for model in data["models"]:
        minutes = model["uptime"] // 60
        print(f"{model['name']} {model['type']} {model['endpoint']} {minutes} minutes")


def main() -> None:
    config, command, *names = sys.argv[1:]
    with open(config, encoding="utf-8") as file:
        endpoint = json.load(file)["endpoints"]["cli_management"]
    context = zmq.Context()
    if not ask(context, endpoint, "status", {})["is_running"]:
        sys.exit("Management service is not running")
    params = {"model_name": names[0]} if names else {}
    data = ask(context, endpoint, command, params)
    if command == "status":
        show(data)
    elif command == "load-model":
        print(f"Model loaded successfully on endpoint: {data['endpoint']}")
    else:
        print(data["message"])


if __name__ == "__main__":
    main()
