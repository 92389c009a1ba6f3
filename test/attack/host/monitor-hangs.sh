# QEMU's monitor accepts the connection of the stop and never answers.
# Must: the stop ends after the timeouts.
# VM: taken
# Slow.
### qemu
serve qmp.sock silent
### host
stopped
