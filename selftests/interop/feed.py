# SPDX-License-Identifier: GPL-2.0-only
"""
A file to standard output, a pipe, with lines of another kind in it:

    feed.py FILE EVERY [LINE]...

Behind each EVERY bytes the next LINE goes out, to a reader that has taken all that was before
and that takes it before anything follows: openssl's s_client and s_server and gnutls-cli know
their commands by how that begins which they read at once. Data goes on behind it, but the next
LINE waits until the module's keys have changed for all before: one that comes while they change
asks for nothing more. Fewer bytes than EVERY between the last and the end are an error: then they
were not in the middle.
"""
import fcntl
import os
import select
import sys
import termios
import time

from rekeys import rekeys

# Commands that change the keys of who says them, and not ours.
THEIRS = ('k', '^rekey1^')
PATIENCE = 120
CHUNK = 65536
OUT = sys.stdout.fileno()


def write(data):
    while data:
        data = data[os.write(OUT, data):]


def until_taken():
    poll = select.poll()
    poll.register(OUT, 0)
    while int.from_bytes(fcntl.ioctl(OUT, termios.FIONREAD, bytes(4)), sys.byteorder):
        if poll.poll(0):
            sys.exit('nobody reads any more')
        time.sleep(0.002)


def copy(source, count):
    while count and (data := source.read(min(CHUNK, count))):
        write(data)
        count -= len(data)
    return not count


def until_changed(base, lines):
    ours = sum(line not in THEIRS for line in lines)
    until = time.monotonic() + PATIENCE
    while True:
        sent, received = (now - then for now, then in zip(rekeys(), base))
        if sent >= ours and received >= len(lines):
            return
        if time.monotonic() > until:
            sys.exit(f'keys changed {sent} and {received} times for {lines}')
        time.sleep(0.01)


with open(sys.argv[1], 'rb', buffering=0) as source:
    before = rekeys()
    every = int(sys.argv[2])
    for turn, line in enumerate(sys.argv[3:]):
        if not copy(source, every):
            sys.exit('more lines than the file has room for')
        until_changed(before, sys.argv[3:3 + turn])
        until_taken()
        write(line.encode() + b'\n')
        until_taken()
        print(line, file=sys.stderr)
    if sys.argv[3:] and not copy(source, every):
        sys.exit('the last line was not in the middle')
    copy(source, 1 << 60)
