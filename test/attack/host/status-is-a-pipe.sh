# QEMU puts a pipe in place of the file with the guest's status.
# Must: the stop ends, and so does the next start.
# VM: taken
### qemu
rm -f status && mkfifo status
### host
stopped
