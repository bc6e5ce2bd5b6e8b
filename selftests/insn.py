# SPDX-License-Identifier: GPL-2.0-only
"""insn.py BASELINE ROWS RESULT...: judges what insn.sh has measured, as TAP.

A row: kernel, protocol, bytes, direction, our instructions, the peer's. A row has become worse
when more than 3 % is added both to our instructions and to their ratio to the peer's: another
kernel changes the one or the other.
"""
import json
import os
import sys

LIMIT = 1.03
PEERS = {"DTLS 1.2": "plain"}


def series():
    return ".".join(os.uname().release.split(".")[:2])


def rows_of(path):
    """Of a result of ktls bench: protocol, bytes, direction -> ours, the peer's."""
    with open(path, encoding="utf-8") as file:
        results = json.load(file)["results"]
    suffix = "+no-pad" if "no-pad" in path else ""
    found = {}
    for r in results:
        if r["outcome"] != "done":
            print(f"# {r['way']}, {r['protocol']}: {r['why']}")
            continue
        for direction, times in r["times"].items():
            key = (r["protocol"].replace(" ", "") + suffix, r["size"], direction)
            pair = found.setdefault(key, [None, None])
            peer = PEERS.get(r["protocol"], "tls")
            if r["way"] in ("af_ktls", peer):
                pair[r["way"] == peer] = round(times["min"])
    return found


def read_baseline(path, kernel):
    rows = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if words and words[0] == kernel:
                rows[words[1], int(words[2]), words[3]] = [int(w) for w in words[4:]]
    return rows


def is_worse(now, then):
    return now[0] > LIMIT * then[0] and now[0] / now[1] > LIMIT * then[0] / then[1]


def judge(rows, baseline):
    """Prints a line a row; what is wrong with a protocol."""
    wrong = {}
    print(f"# {'instructions a record':28} {'ours':>9} {'peer':>9} {'ratio':>7} {'before':>7}")
    for key, now in rows.items():
        then = baseline.get(key)
        problems = wrong.setdefault(key[0], [])
        name = f"{key[0]}, {key[1]} bytes, {key[2]}"
        if None in now:
            problems.append(name + ": not measured")
            continue
        before = f"{then[0] / then[1]:7.2f}" if then else "      -"
        print(f"# {name:28} {now[0]:9} {now[1]:9} {now[0] / now[1]:7.2f} {before}")
        if not then:
            problems.append(name + ": not in the baseline")
        elif is_worse(now, then):
            problems.append(f"{name}: {now[0]} instructions, not {then[0]}")
        elif is_worse(then, now):
            print(f"# better by {100 - 100 * now[0] / then[0]:.0f} %: make bench-insn WRITE=1")
    return wrong


def main():
    baseline_path, rows_path, *results = sys.argv[1:]
    kernel = series()
    rows = {}
    for path in results:
        rows.update(rows_of(path))
    baseline = read_baseline(baseline_path, kernel)
    with open(rows_path, "w", encoding="utf-8") as file:
        for key, now in rows.items():
            if None not in now:
                print(kernel, *key, *now, file=file)
    wrong = judge(rows, baseline)
    for key in baseline:
        if key not in rows:
            wrong.setdefault(key[0], []).append(f"{key}: not measured")
    for i, (protocol, problems) in enumerate(wrong.items(), 1):
        for problem in problems:
            print("#", problem)
        print(f"{'not ok' if problems else 'ok'} {i} {protocol}: no more instructions a record")
    print(f"1..{len(wrong)}")
    sys.exit(any(wrong.values()))


main()
