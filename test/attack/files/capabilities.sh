# Root in the guest gives a program in the work directory capabilities, and sets attributes of the system.
# Must: the program has no capability on the host.
### root
cp /bin/grep "$NAME" && chmod 755 "$NAME"
cat >/tmp/xattr.py <<'END'
import os, sys
os.setxattr(sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3]))
END
python3 /tmp/xattr.py "$NAME" user.control 00
python3 /tmp/xattr.py "$NAME" security.capability 0100000200200000000000000000000000000000 2>/dev/null || :
fails python3 /tmp/xattr.py "$NAME" trusted.overlay.opaque 79
### host
"./$NAME" '^Cap[PE]' /proc/self/status >"$XDG_RUNTIME_DIR/out"
[ "$(grep -c 0000000000000000 "$XDG_RUNTIME_DIR/out")" = 2 ]
