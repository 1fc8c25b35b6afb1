#!/usr/bin/env python3
"""Compiles Symphony's .proto files to Python modules (handshake_pb2, ping_pb2, l4m_pb2, l4m_vision_pb2).

Generated code belongs to the version of the protobuf package it was made with, so it is made where it is used
instead of being kept in the repository.
"""

import argparse
import sys
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proto", type=Path, default=HERE.parent.parent / "proto", help="folder of the .proto files")
    parser.add_argument("--out", type=Path, default=HERE / "generated", help="folder for the modules")
    args = parser.parse_args()
    protos = sorted(args.proto.glob("*.proto"))
    if not protos:
        print(f"no .proto files in {args.proto}", file=sys.stderr)
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    return protoc.main(["protoc", f"-I{args.proto}", f"--python_out={args.out}", *map(str, protos)])


if __name__ == "__main__":
    sys.exit(main())
