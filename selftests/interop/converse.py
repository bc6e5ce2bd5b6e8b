# SPDX-License-Identifier: GPL-2.0-only
"""
Runs a peer, takes what comes out of it, and gives it commands in the middle of that:

    converse.py [-say TEXT] [-rest=PID] [-from=N] FILE SIZE SENT RECEIVED [COMMAND]... -- PEER...

TEXT goes to the peer at once, and what it says to FILE. When the next eighth of SIZE has come
(from the Nth on) the next COMMAND goes to it; what follows is taken slowly until the module's keys
have changed for that command, SENT times for sending and RECEIVED times for receiving, which has
to be before the end. With -rest that process, which sends, rests until the command is taken:
s_client looks for none while data comes. Ends with the peer, with its status.
"""
import argparse
import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import time

from rekeys import rekeys

PATIENCE = 120
CHUNK = 65536


class Peer:
    def __init__(self, command, output):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        bufsize=0)
        self.output, self.taken = output, 0

    def say(self, text):
        self.process.stdin.write(text.encode())

    def take(self, count=CHUNK, seconds=PATIENCE):
        """0: it is gone; None: nothing in that time"""
        out = self.process.stdout
        if not select.select([out], [], [], seconds)[0]:
            return None
        data = out.read(count)
        self.output.write(data)
        self.taken += len(data)
        return len(data)

    def has_heard(self):
        left = fcntl.ioctl(self.process.stdin, termios.FIONREAD, bytes(4))
        return not int.from_bytes(left, sys.byteorder)


def take_until(peer, content, what, size):
    until = time.monotonic() + PATIENCE
    while not content():
        if time.monotonic() > until or peer.take(seconds=0.01) == 0 or peer.taken >= size:
            sys.exit(f'{what}: not before {peer.taken} of {size} bytes had come')
        time.sleep(0.0005)


def command(peer, args, turn, base):
    if args.rest:
        os.kill(args.rest, signal.SIGSTOP)
    peer.say(args.commands[turn - 1] + '\n')
    if args.rest:
        take_until(peer, peer.has_heard, 'command taken', args.size)
        os.kill(args.rest, signal.SIGCONT)
    take_until(peer, lambda: all(now - then >= turn * more for now, then, more in
                                 zip(rekeys(), base, (args.sent, args.received))),
               f'keys changed for command {turn}', args.size)


def converse(peer, args, base):
    if args.say:
        peer.say(args.say)
    for turn in range(1, len(args.commands) + 1):
        while (left := (args.at + turn - 1) * args.size // 8 - peer.taken) > 0:
            if not peer.take(min(left, CHUNK)):
                sys.exit(f'no more than {peer.taken} bytes')
        command(peer, args, turn, base)
    while count := peer.take():
        time.sleep(0.0005)
    if count is None:
        sys.exit(f'nothing comes behind {peer.taken} bytes')
    return peer.process.wait()


parser = argparse.ArgumentParser(prefix_chars='-')
parser.add_argument('-say')
parser.add_argument('-rest', type=int)
parser.add_argument('-from', type=int, default=1, dest='at')
parser.add_argument('file')
parser.add_argument('size', type=int)
parser.add_argument('sent', type=int)
parser.add_argument('received', type=int)
parser.add_argument('commands', nargs='*')
split = sys.argv.index('--')
arguments = parser.parse_args(sys.argv[1:split])
before = rekeys()
with open(arguments.file, 'wb', buffering=0) as file:
    sys.exit(converse(Peer(sys.argv[split + 1:], file), arguments, before))
