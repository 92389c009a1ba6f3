# virtiofsd puts off its stop by EXTEND_TIMEOUT_USEC, and reports another status.
# Must: it cannot reach the user manager.
# VM: taken
### host
datagram "$XDG_RUNTIME_DIR/systemd/notify" X_CONTROL=1
### virtiofsd
reach vfs.sock
fails datagram /run/user/1000/systemd/notify EXTEND_TIMEOUT_USEC=60000000
