"""Network attacks of the guest's root: python3 net.py COMMAND ARGUMENT...

The exit status of syn, udp, icmp and arp says whether there was an answer."""

import os
import random
import socket
import struct
import sys
import time

GATEWAY = "10.0.2.2"
OWN = "10.0.2.15"
WAIT = float(os.environ.get("WAIT", "20"))  # seconds, for an answer


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac():
    with open("/sys/class/net/eth0/address") as f:
        return bytes.fromhex(f.read().strip().replace(":", ""))


def link():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind(("eth0", 0))
    s.settimeout(0.2)
    return s


def arp(target, sender=OWN, operation=1):
    body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, mac(), socket.inet_aton(sender), bytes(6), socket.inet_aton(target))
    return b"\xff" * 6 + mac() + b"\x08\x06" + body


def router():
    """The gateway's MAC address."""
    s = link()
    s.send(arp(GATEWAY))
    frame = wait(s, lambda f: f[12:14] == b"\x08\x06" and f[28:32] == socket.inet_aton(GATEWAY), 20)
    if frame is None:
        sys.exit("no gateway")
    return frame[22:28]


def wait(s, wanted, seconds=WAIT):
    end = time.time() + seconds
    while time.time() < end:
        try:
            frame = s.recv(70000)
        except OSError:
            continue
        if frame[6:12] != mac() and wanted(frame):
            return frame
    return None


def packet(to, source, protocol, body, fragment=0, identity=None):
    identity = random.randrange(65536) if identity is None else identity
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), identity, fragment, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(to))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def tcp_syn(to, port, source, own_port):
    body = struct.pack("!HHIIBBHHH", own_port, port, random.randrange(1 << 32), 0, 0x50, 2, 65535, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack("!BBH", 0, 6, len(body))
    return body[:16] + struct.pack("!H", checksum(pseudo + body)) + body[18:]


def ethernet(peer, body):
    return peer + mac() + b"\x08\x00" + body


def syn(to, port, source=OWN):
    peer, s, own_port = router(), link(), random.randrange(20000, 60000)
    s.send(ethernet(peer, packet(to, source, 6, tcp_syn(to, int(port), source, own_port))))
    ports = struct.pack("!HH", int(port), own_port)
    return wait(s, lambda f: f[12:14] == b"\x08\x00" and f[23] == 6 and f[34:38] == ports and f[47] & 0x12 == 0x12)


def udp(to, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.settimeout(WAIT)
    try:
        s.sendto(b"attack", (to, int(port)))
        return s.recv(2000)
    except OSError:
        return None


def icmp(to):
    peer, s = router(), link()
    body = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"attack"
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    s.send(ethernet(peer, packet(to, OWN, 1, body)))
    return wait(s, lambda f: f[12:14] == b"\x08\x00" and f[23] == 1 and f[34] == 0)


def arp_request(target):
    s = link()
    s.send(arp(target))
    return wait(s, lambda f: f[12:14] == b"\x08\x06" and f[28:32] == socket.inet_aton(target))


def claim(address):
    s = link()
    for operation in (1, 2):
        s.send(arp(address, sender=address, operation=operation))
    return b"sent"


def noise(count):
    peer, s = router(), link()
    for i in range(int(count)):
        kind = random.choice([b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x81\x00", os.urandom(2)])
        body = os.urandom(random.choice([0, 1, 7, 20, 40, 60, 1400, 9000]))
        if kind == b"\x08\x00" and random.random() < 0.7:
            body = packet(random.choice(["93.184.216.34", GATEWAY, "127.0.0.1"]), OWN, random.choice([1, 6, 17, 47, 255]), body)
        try:
            s.send(random.choice([peer, b"\xff" * 6, os.urandom(6)]) + random.choice([mac(), os.urandom(6)]) + kind + body)
        except OSError:
            pass
    return b"sent"


def fragments(count):
    peer, s = router(), link()
    for i in range(int(count)):
        s.send(ethernet(peer, packet("93.184.216.34", OWN, 17, os.urandom(1200), fragment=0x2000, identity=i % 65536)))
    return b"sent"


def syns(count):
    peer, s = router(), link()
    for i in range(int(count)):
        s.send(ethernet(peer, packet("93.184.216.34", OWN, 6, tcp_syn("93.184.216.34", 80, OWN, 1024 + i % 60000))))
    return b"sent"


TYPES = {"A": 1, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "NULL": 10, "HTTPS": 65, "ANY": 255}


def dns(name, kind, server="10.0.2.3"):
    """The data of the answers, in hexadecimal; an address as such."""
    question = b"".join(bytes([len(label)]) + label for label in os.fsencode(name).split(b".")) + b"\0"
    query = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + question + struct.pack("!HH", TYPES[kind], 1)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    try:
        s.sendto(query, (server, 53))
        answer = s.recv(70000)
    except OSError:
        return b"none"
    at = len(query)
    for _ in range(struct.unpack("!H", answer[6:8])[0]):
        while answer[at] and answer[at] < 0xC0:
            at += 1 + answer[at]
        at += 2 if answer[at] else 1
        (size,) = struct.unpack("!H", answer[at + 8 : at + 10])
        data = answer[at + 10 : at + 10 + size]
        print(socket.inet_ntoa(data) if size == 4 else data.hex())
        at += 10 + size
    return b"done"


def http(port=80, name="example.com"):
    """Standard input to a port of a name, and what it answers."""
    with socket.create_connection((name, int(port)), 20) as s:
        s.settimeout(8)
        s.sendall(sys.stdin.buffer.read())
        try:
            while text := s.recv(70000):
                sys.stdout.buffer.write(text)
        except OSError:
            pass
    return b"done"


COMMANDS = {"syn": syn, "udp": udp, "icmp": icmp, "arp": arp_request, "claim": claim, "noise": noise,
            "fragments": fragments, "syns": syns, "dns": dns, "http": http}
sys.exit(0 if COMMANDS[sys.argv[1]](*sys.argv[2:]) else 1)
