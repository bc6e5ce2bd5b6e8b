# SPDX-License-Identifier: GPL-2.0-only
"""
Runs a command whose standard input is a socket, which can neither be sent with sendfile(2) nor
spliced:

    socket_input.py FILE COMMAND [ARGUMENT]...
"""
import os
import socket
import sys

ours, theirs = socket.socketpair()
if os.fork():
    os.dup2(theirs.fileno(), 0)
    ours.close()
    theirs.close()
    os.execvp(sys.argv[2], sys.argv[2:])
theirs.close()
with open(sys.argv[1], 'rb') as source:
    ours.sendfile(source)
