"""Has a fork of `tests.mpi.warm_ranks` take its place: ``python -I -S rank.py NAME_OF_SOCKET ARGUMENTS OF PYTHON``."""

import json
import os
import socket
import sys

OF_LAUNCHER = "PMI_FD"
"""Variable of MPICH's launcher that says by which file a rank talks to it."""

if __name__ == "__main__":
    files = [0, 1, 2, *(int(os.environ[name]) for name in [OF_LAUNCHER] if name in os.environ)]
    request = {"command": sys.argv[2:], "cwd": os.path.realpath("."), "env": dict(os.environ), "files": files}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect("\0" + sys.argv[1])
        socket.send_fds(connection, [json.dumps(request).encode()], files)
        status = int(connection.recv(100) or b"1")
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)
