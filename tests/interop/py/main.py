"""A peer for the interoperation tests: `main.py py-yamux`, or `main.py node`."""

from __future__ import annotations

import logging
import sys

import trio


def main() -> None:
    implementation = sys.argv[1] if len(sys.argv) == 2 else ""
    # Nothing is left behind in this directory.
    sys.dont_write_bytecode = True
    match implementation:
        case "py-yamux":
            from py_yamux import run
        case "node":
            from node import run
        case _:
            sys.exit("usage: main.py py-yamux | node")
    # Some loggers of the library have levels of their own, and its uppermost one keeps everything to itself.
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    logging.basicConfig(handlers=[handler])
    logging.getLogger("libp2p").propagate = True
    trio.run(run)


if __name__ == "__main__":
    main()
