# QEMU reads the work directory, which only virtiofsd may.
# Must: it is not there.
# VM: taken
### host
echo mine >"$NAME"
### qemu
fails cat "$WORK/$NAME"
