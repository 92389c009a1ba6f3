# QEMU uses capabilities.
# Must: it has none, and cannot get any.
# VM: taken
### qemu
grep '^Cap' /proc/self/status | grep -v '0000000000000000' | hasnot Cap
fails chroot / true
fails mount -t tmpfs none /tmp
fails perl -e 'exit !chown 0, 0, "qemu.in"'
