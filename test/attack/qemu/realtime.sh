# QEMU takes the processors by real-time scheduling.
# Must: refused.
# VM: taken
### qemu
fails chrt --fifo 1 true
fails perl -e 'exit(syscall(144, 0, 1, pack("i", 1)) != 0)'
