# QEMU changes the host's name or clock.
# Must: refused.
# VM: taken
### qemu
fails perl -e 'exit(syscall(170, "evil", 4) != 0)'
fails perl -e 'exit(syscall(227, 0, pack("qq", 0, 0)) != 0)'
