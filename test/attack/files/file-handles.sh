# Root in the guest opens files by handles with guessed numbers, past all directories.
# Must: whatever opens is in the share, and hidden files stay hidden.
### root
cat >/tmp/handles.py <<'END'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
work = os.open(sys.argv[1], os.O_RDONLY)
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
h, mount = Handle(bytes=128), ctypes.c_int()
if libc.name_to_handle_at(work, b"plain", ctypes.byref(h), ctypes.byref(mount), 0) < 0:
    sys.exit("no handle: %d" % ctypes.get_errno())
found = 0
for node in range(1, 3000):
    h.data[:8] = struct.pack("<II", node >> 32, node & 0xffffffff) if h.bytes > 8 else struct.pack("<II", node, 0)
    fd = libc.open_by_handle_at(work, ctypes.byref(h), os.O_RDONLY | os.O_NONBLOCK)
    if fd >= 0:
        found += 1
        path = os.readlink("/proc/self/fd/%d" % fd)
        try: text = b"" if os.path.isdir(path) else os.read(fd, 100)
        except OSError: text = b""
        if b"SECRET" in text: sys.exit("read " + path)
        os.close(fd)
print(found)
END
python3 /tmp/handles.py "$WORK"
