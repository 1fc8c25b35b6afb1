"""Asks a service without a pause until a file appears: a DEALER and a REQ in turn, as owners of the Python service have them.

Ends with 1 when a request is not answered, or by a failure, or twice, or by the answer of another one. Prints how many
were answered.
"""

import json
import os
import sys
import uuid

import zmq

endpoint, stop = sys.argv[1:]
context = zmq.Context()
sockets = []
for kind in (zmq.DEALER, zmq.REQ):
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, 60_000)
    socket.connect(endpoint)
    sockets.append(socket)

answered = 0
while not os.path.exists(stop):
    for socket in sockets:
        request = {"command": "status", "params": {}, "correlation_id": str(uuid.uuid4())}
        socket.send_string(json.dumps(request))
        reply = json.loads(socket.recv_string())
        if reply["correlation_id"] != request["correlation_id"] or reply["success"] is not True:
            sys.exit(f"after {answered} answers: {reply}")
        answered += 1
if sockets[0].poll(0):
    sys.exit("a reply that nobody asked for")
print(answered)
