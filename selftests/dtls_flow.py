# SPDX-License-Identifier: GPL-2.0-only
"""
Numbered datagrams with checksums, both ways through two processes that carry them.

    dtls_flow.py FAR NEAR

FAR and NEAR are commands. Each has a socket of datagrams as its standard input and output;
NEAR starts when FAR has said on standard error that it is listening. Then, a line of standard
input each, with a line of answer:

    send near|far COUNT SIZE	what is put in on that side: "sent"
    tally near|far	of what came out there: numbers that came, that came again, datagrams
                    that are not as they were sent, numbers that came behind a higher one
    sizes near|far	of the last datagrams that came out there, up to 20
    usable near|far	what fits into a datagram, as KTLS_INFO says
    end			the near side's input ends: the statuses of both
"""
import ctypes
import os
import shlex
import socket
import subprocess
import sys
import threading
import zlib

HEADER = 12
SOL_KTLS, KTLS_INFO, USABLE_AT = 12, 1, 152
PIDFD_GETFD = 438
FILLER = bytes(range(256)) * 64


class Side:
    def __init__(self, command, stderr):
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen(shlex.split(command), stdin=theirs, stdout=theirs,
                                        stderr=stderr)
        theirs.close()
        self.next, self.highest = 0, -1
        self.came, self.again, self.wrong, self.late = set(), 0, 0, 0
        self.sizes = []
        threading.Thread(target=self.take, daemon=True).start()

    def send(self, count, size):
        for number in range(self.next, self.next + count):
            body = number.to_bytes(8, 'big') + FILLER[number % 256:][:size - HEADER]
            self.ours.send(zlib.crc32(body).to_bytes(4, 'big') + body)
        self.next += count

    def usable(self):
        pidfd = os.pidfd_open(self.process.pid)
        for name in os.listdir(f'/proc/{self.process.pid}/fd'):
            fd = ctypes.CDLL(None).syscall(PIDFD_GETFD, pidfd, int(name), 0)
            try:
                with socket.socket(SOL_KTLS, socket.SOCK_DGRAM, 0, fd) as sock:
                    info = sock.getsockopt(SOL_KTLS, KTLS_INFO, 512)
                    return int.from_bytes(info[USABLE_AT:USABLE_AT + 4], sys.byteorder)
            except OSError:
                continue
        return 0

    def take(self):
        while datagram := self.ours.recv(65536):
            self.judge(datagram[:4], datagram[4:])
            self.sizes = self.sizes[-19:] + [len(datagram)]

    def judge(self, checksum, body):
        number = int.from_bytes(body[:8], 'big')
        if zlib.crc32(body).to_bytes(4, 'big') != checksum:
            self.wrong += 1
        elif number in self.came:
            self.again += 1
        else:
            self.came.add(number)
            self.late += number < self.highest
            self.highest = max(number, self.highest)


def start():
    far = Side(sys.argv[1], subprocess.PIPE)
    for line in far.process.stderr:
        if b'listening' in line:
            break
    return {'far': far, 'near': Side(sys.argv[2], None)}


def answer(sides, verb, side='near', count=0, size=0):
    end = sides[side]
    if verb == 'send':
        end.send(int(count), int(size))
        return 'sent'
    if verb == 'tally':
        return f'{len(end.came)} {end.again} {end.wrong} {end.late}'
    if verb == 'sizes':
        return ' '.join(map(str, end.sizes))
    if verb == 'usable':
        return str(end.usable())
    end.ours.shutdown(socket.SHUT_WR)
    return f'{sides["near"].process.wait()} {sides["far"].process.wait()}'


ends = start()
for command in sys.stdin:
    print(answer(ends, *command.split()), flush=True)
    if command.startswith('end'):
        break
