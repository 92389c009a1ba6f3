# QEMU types into the user's terminal by TIOCSTI.
# Must: it has no terminal, and sees none of the others.
# VM: taken
### qemu
fails sh -c ': </dev/tty'
[ "$(ls /dev/pts | grep -v ptmx)" = '' ]
