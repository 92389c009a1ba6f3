# QEMU connects to a socket with an abstract name, which needs no file.
# Must: it is in another network namespace.
# VM: taken
### host
serve @attack silent
reach @attack
### qemu
fails reach @attack
