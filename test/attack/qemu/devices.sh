# QEMU opens devices: disks, terminals, input, /dev/fuse, /dev/net/tun.
# Must: only harmless ones and /dev/kvm exist.
# VM: taken
### qemu
[ -c /dev/null ]
left=$(find /dev -type b -o -type c | grep -v -x -e '/dev/\(null\|zero\|full\|random\|urandom\|tty\|kvm\|ptmx\|pts/ptmx\)' || :)
[ -z "$left" ] || broken "$left"
