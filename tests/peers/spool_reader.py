#!/usr/bin/env python3
"""Reads a ringpost spool, written from the format's description in src/spool/mod.rs alone.

The spool should be at rest: where a sink is writing, a reader would have to look twice.

    spool_reader.py DIR              one line a message: id and octets
    spool_reader.py DIR --count      messages and octets
    spool_reader.py DIR --jsonl      one JSON object a message
    spool_reader.py DIR --sha256     id, octets and SHA-256 of the body
    spool_reader.py DIR --extract ID the octets of one message

As a module: messages(DIR) gives (id, meta, body) in the order of core, segment and offset, and
deliveries(DIR) gives {(id, sealed, recipient): (fate, code, when)}.
Python 3 and its standard library are enough; the packages google-crc32c or crc32c make it faster.
Exit 65 when something is damaged; a torn end, as a power cut leaves it, is told and is no damage.
"""

import argparse
import errno
import hashlib
import json
import os
import re
import stat
import struct
import sys

MARKERS = (b"ringpost-spool 1\n", b"ringpost-spool 2\n")
NAME = re.compile(r"c(\d{3,})-(\d{8,})\.seg\Z")
SEGMENT = struct.Struct("<8sIIH6xQQQIIII")
DELIVERY = struct.Struct("<4sBxHIIIHxxQQ4xI")
FATES = {1: "delivered", 2: "refused"}
RECORD = struct.Struct("<4sBBHIIQQIIIIIIII")
SINGLE, FRAGMENT, SEAL = 1, 2, 3
FLAGS = ["bare-cr", "bare-lf", "bdat", "8bit", "smtputf8", "nul", "lmtp", "tls",
         "headers-only"]
TEXTS = {3: "peer", 4: "listener", 5: "helo", 6: "protocol", 7: "tls", 8: "auth",
         9: "reverse_path", 10: "reverse_params", 14: "deviations"}
U64 = (1 << 64) - 1

assert SEGMENT.size == 64 and RECORD.size == 64


def _tables():
    """Contributions of the low and of the high half of a 32-bit word, four octets further on."""
    byte = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        byte.append(value)

    def advance(value, octets):
        for _ in range(octets):
            value = (value >> 8) ^ byte[value & 0xFF]
        return value

    low0 = [advance(value, 4) for value in range(256)]
    low1 = [advance(value << 8, 4) for value in range(256)]
    high0 = [advance(value << 16, 4) for value in range(256)]
    high1 = [advance(value << 24, 4) for value in range(256)]
    low = [low0[value & 0xFF] ^ low1[value >> 8] for value in range(65536)]
    high = [high0[value & 0xFF] ^ high1[value >> 8] for value in range(65536)]
    return byte, low, high


_TABLES = None


def crc32c_plain(data):
    """CRC-32C, a 32-bit word at a time through two tables."""
    global _TABLES
    if _TABLES is None:
        _TABLES = _tables()
    byte, low, high = _TABLES
    crc = 0xFFFFFFFF
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        word ^= crc
        crc = low[word & 0xFFFF] ^ high[word >> 16]
    for octet in data[whole:]:
        crc = (crc >> 8) ^ byte[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _choose_crc():
    try:
        import google_crc32c
        return lambda data: google_crc32c.value(bytes(data))
    except ImportError:
        pass
    try:
        import crc32c as package
        return package.crc32c
    except (ImportError, AttributeError):
        return crc32c_plain


crc32c = _choose_crc()
assert crc32c(b"123456789") == crc32c_plain(b"123456789") == 0xE3069283


class NotASpool(Exception):
    """The directory has no marker of this version."""


class Report:
    """What was met besides whole messages."""

    def __init__(self):
        self.damage = []  # (file, offset, what)
        self.torn = []  # likewise
        self.torn_chains = {}  # id of a message that is torn: the segment that it misses
        self.torn_pieces = set()  # (segment, offset) of fragments of the present core that are torn
        self.ends = {}  # (core, number): where a segment ends that is not damaged
        self.open_records = 0
        self.orphaned_fragments = 0
        self.recycled = []  # ids of messages whose start the ring has taken


def commit_word(nonce, number, sequence):
    mixed = (((nonce ^ sequence) * 0x9E3779B97F4A7C15) & U64) ^ number
    return ((mixed ^ (mixed >> 32)) & 0xFFFFFFFF) | 1


def segment_files(directory):
    """(core, number, name) of each segment, in order."""
    with open_file(directory, "SPOOL") as marker:
        if marker.read(256) not in MARKERS:
            raise NotASpool(f"{directory} is not a spool of version 1 or 2")
    found = []
    for match in filter(None, map(NAME.match, os.listdir(directory))):
        core, number = int(match[1]), int(match[2])
        if match[0] == f"c{core:03}-{number:08}.seg" and core < 1 << 16 and number < 1 << 32:
            found.append((core, number, match[0]))
    return sorted(found)


def open_file(directory, name):
    """A regular file of the spool; no link is followed, and nothing is waited for."""
    fd = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no regular file", name)
    return open(fd, "rb")


class Doubt(Exception):
    """Something that cannot be believed; the argument says what."""


class Torn(Doubt):
    """A doubt that a power cut is allowed to leave."""

    def __init__(self, what, segment=None):
        super().__init__(what)
        # Where the chain of a message breaks.
        self.segment = segment


def segment_header(header, core, number):
    """Size, nonce and mark; the mark is None in version 1."""
    magic, version, its_number, its_core, size, _, nonce, mark, check, zero, crc = (
        SEGMENT.unpack(header))
    covered = {1: 60, 2: 48}.get(version)
    if magic != b"RINGPOST" or covered is None or crc32c(header[:covered]) != crc:
        raise Doubt("segment header")
    if version == 1:
        mark = None
    elif zero or (mark or check) and check != commit_word(nonce, its_number, U64 - mark):
        raise Doubt("mark")
    if (its_core, its_number) != (core, number):
        raise Torn("segment name")
    return size, nonce, mark


def gap(data, at, core, number, nonce):
    """Whether a sound record header stands somewhere behind the end of the log."""
    while (at := data.find(b"RPR\x01", at)) >= 0:
        slot = data[at:at + 64]
        if at % 8 == 0 and len(slot) == 64:
            fields = RECORD.unpack(slot)
            if crc32c(slot[:56]) == fields[14] and fields[15] == commit_word(
                    nonce, number, fields[6]) and (fields[3], fields[4]) == (core, number):
                return True
        at += 1
    return False


def records(data, core, number, report, name):
    """(offset, header fields, payload) of each committed record of a segment's octets."""
    header = data[:64]
    whole = len(data) % 65536 == 0
    if not any(data[:-8] if whole else data):
        report.ends[core, number] = 0
        return
    at, mark = 0, None
    try:
        if not any(header):
            raise (Torn if whole else Doubt)("lost header")
        if len(header) < 64:
            raise Doubt("segment header")
        size, nonce, mark = segment_header(header, core, number)
        at = 64
        last = None
        while True:
            slot = data[at:at + 64]
            if len(slot) < 64:
                if slot and len(data) != size:
                    raise Doubt("record cut")
                if mark is not None and at < mark:
                    raise Doubt("short")
                if mark is not None:
                    report.ends[core, number] = at
                return
            fields = RECORD.unpack(slot)
            (magic, kind, zero, its_core, its_number, _, sequence, _, body, envelope, _, _, _,
             payload_crc, header_crc, commit) = fields
            if commit == 0:
                if any(slot) and magic != b"RPR\x01":
                    raise Doubt("record header")
                if mark is not None and at < mark:
                    raise Doubt("short")
                if gap(data, at + 8, core, number, nonce):
                    raise Doubt("gap")
                report.open_records += any(slot)
                if mark is not None:
                    report.ends[core, number] = at
                return
            if (magic != b"RPR\x01" or zero or kind not in (SINGLE, FRAGMENT, SEAL)
                    or crc32c(slot[:56]) != header_crc
                    or (its_core, its_number) != (core, number)
                    or commit != commit_word(nonce, number, sequence)):
                raise Doubt("record header")
            end = at + 64 + body + envelope
            following = (end + 7) // 8 * 8
            if following > len(data):
                raise Doubt("record beyond the end")
            if last is not None and sequence != last + 1:
                raise Doubt("sequence")
            payload = data[at + 64:end]
            what = None
            if crc32c(payload) != payload_crc:
                what = "payload checksum"
            elif any(data[end:following]):
                what = "padding"
            if what is None:
                yield at, fields, payload
            elif mark is not None and at >= mark:
                report.torn.append((name, at, what))
                if kind == FRAGMENT:
                    report.torn_pieces.add((number, at))
            else:
                report.damage.append((name, at, what))
            # The header is sound, and says where the next record begins.
            last = sequence
            at = following
    except Doubt as doubt:
        if isinstance(doubt, Torn) or at and mark is not None and at >= mark:
            report.torn.append((name, at, str(doubt)))
            report.ends[core, number] = at
        else:
            report.damage.append((name, at, str(doubt)))


def envelope_fields(octets, flags):
    """The envelope as a dict; texts are bytes, recipients are (path, parameters)."""
    meta = {name: b"" for name in TEXTS.values()}
    meta["flags"] = [name for bit, name in enumerate(FLAGS) if flags >> bit & 1]
    meta["recipients"] = []
    at = 0
    while at < len(octets):
        if at + 4 > len(octets):
            raise Doubt("envelope")
        tag, length = struct.unpack_from("<HH", octets, at)
        value = bytes(octets[at + 4:at + 4 + length])
        at += 4 + length
        if len(value) < length:
            raise Doubt("envelope")
        if tag in (1, 2):
            if length != 8:
                raise Doubt("envelope")
            meta["received_ns" if tag == 1 else "sealed_ns"] = int.from_bytes(value, "little")
        elif tag == 13:
            if length != 8:
                raise Doubt("envelope")
            meta["sent_bytes"] = int.from_bytes(value, "little")
        elif tag == 11:
            meta["recipients"].append((value, b""))
        elif tag == 12:
            if not meta["recipients"]:
                raise Doubt("envelope")
            meta["recipients"][-1] = (meta["recipients"][-1][0], value)
        elif tag in TEXTS:
            meta[TEXTS[tag]] = value
    return meta


def join(header, payload, fragments, lowest, report):
    """The body of the message that this single or seal ends."""
    (_, kind, _, core, _, draft, _, total, length, _, _, back_segment, back_offset, *_) = header
    pieces = [payload[:length]]
    missing = total - length
    while back_offset:
        piece = fragments.pop((back_segment, back_offset), None)
        if piece is None and ((back_segment, back_offset) in report.torn_pieces
                              or back_offset >= report.ends.get((core, back_segment), 1 << 32)):
            raise Torn("chain", back_segment)
        if piece is None:
            raise Doubt("recycled" if back_segment < lowest else "chain")
        its_draft, its_total, body, back_segment, back_offset = piece
        if its_draft != draft or its_total != missing or not body:
            raise Doubt("chain")
        missing -= len(body)
        pieces.append(body)
    if missing or (kind == SINGLE and len(pieces) > 1):
        raise Doubt("chain")
    return b"".join(reversed(pieces))


def messages(directory, report=None):
    """Every whole message of the spool: (id, meta dict, body bytes)."""
    report = Report() if report is None else report
    fragments, lowest, present = {}, 0, None
    for core, number, name in segment_files(directory):
        if core != present:
            report.orphaned_fragments += len(fragments)
            fragments, lowest, present = {}, number, core
            report.torn_pieces.clear()
        try:
            with open_file(directory, name) as file:
                data = file.read()
        except FileNotFoundError:
            lowest = number + 1
            continue
        except OSError as error:
            report.damage.append((name, 0, error.strerror))
            continue
        for offset, header, payload in records(data, core, number, report, name):
            kind, draft, total, length, flags = (header[1], header[5], header[7], header[8],
                                                 header[10])
            if kind == FRAGMENT:
                fragments[number, offset] = (draft, total, payload, header[11], header[12])
                continue
            try:
                body = join(header, payload, fragments, lowest, report)
                meta = envelope_fields(payload[length:], flags)
            except Doubt as doubt:
                if str(doubt) == "recycled":
                    report.recycled.append(f"{core}-{number}-{offset}")
                elif isinstance(doubt, Torn):
                    report.torn.append((name, offset, str(doubt)))
                    report.torn_chains[f"{core}-{number}-{offset}"] = doubt.segment
                else:
                    report.damage.append((name, offset, str(doubt)))
                continue
            yield f"{core}-{number}-{offset}", meta, body
    report.orphaned_fragments += len(fragments)


def deliveries(directory):
    """What the file of deliveries tells, damaged records and a torn end left out."""
    try:
        with open_file(directory, "delivered") as file:
            data = file.read()
    except FileNotFoundError:
        return {}
    told = {}
    for at in range(0, len(data) - DELIVERY.size + 1, DELIVERY.size):
        octets = data[at:at + DELIVERY.size]
        magic, fate, core, segment, offset, recipient, code, sealed, when, crc = DELIVERY.unpack(octets)
        if magic == b"RPD\1" and fate in FATES and crc == crc32c(octets[:44]):
            key = ("%d-%d-%d" % (core, segment, offset), sealed, recipient)
            told.setdefault(key, (FATES[fate], code, when))
    return told


def as_json(name, meta, body):
    def text(value):
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value

    fields = {key: text(value) for key, value in meta.items()}
    fields["recipients"] = [{"path": text(path), "params": text(params)}
                            for path, params in meta["recipients"]]
    digest = hashlib.sha256(body).hexdigest()
    return json.dumps({"id": name, "bytes": len(body), "sha256": digest, **fields})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--count", action="store_true")
    what.add_argument("--jsonl", action="store_true")
    what.add_argument("--sha256", action="store_true")
    what.add_argument("--extract", metavar="ID")
    args = parser.parse_args()
    report, count, octets, found = Report(), 0, 0, False
    try:
        for name, meta, body in messages(args.dir, report):
            count += 1
            octets += len(body)
            if args.extract is not None:
                if name == args.extract:
                    sys.stdout.buffer.write(body)
                    found = True
                    break
            elif args.jsonl:
                print(as_json(name, meta, body))
            elif args.sha256:
                print(name, len(body), hashlib.sha256(body).hexdigest())
            elif not args.count:
                print(name, len(body))
    except (OSError, NotASpool) as error:
        sys.exit(f"spool_reader: {error}")
    if args.count:
        print(count, "messages,", octets, "bytes")
    for name, offset, doubt in report.torn:
        print(f"spool_reader: {name} at {offset}: torn: {doubt}", file=sys.stderr)
    for name, offset, doubt in report.damage:
        print(f"spool_reader: {name} at {offset}: {doubt}", file=sys.stderr)
    if args.extract is not None and not found:
        sys.exit(f"spool_reader: no message {args.extract}")
    sys.exit(65 if report.damage else 0)


if __name__ == "__main__":
    main()
