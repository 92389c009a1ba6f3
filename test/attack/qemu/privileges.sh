# QEMU executes a setuid program.
# Must: it remains the same user, without capabilities.
# VM: taken
### qemu
[ -u /usr/bin/su ]
grep -q '^NoNewPrivs:.1$' /proc/self/status
fails su -c true
fails mount --bind / /tmp
