# QEMU writes lines to the journal in the name of another unit, or floods it, over journald's socket.
# Must: the socket is not there.
# VM: taken
### qemu
fails datagram /run/systemd/journal/socket evil
fails datagram /dev/log evil
