# QEMU, taken over, executes another program.
# Must: its own seccomp filter is there in addition to the unit's, with spawn=deny.
### host
pid=$(systemctl --user show --value -p MainPID "claude-vm@$ID.service")
[ "$(sed -n 's/^Seccomp_filters:.//p' "/proc/$pid/status")" -ge 2 ]
tr '\0' ' ' <"/proc/$pid/cmdline" | has '-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'
[ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]
grep '^Cap' "/proc/$pid/status" | grep -v 0000000000000000 | hasnot Cap
