# QEMU uses io_uring, the source of many bugs of the kernel, and which seccomp cannot look into.
# Must: EPERM.
# VM: taken
### qemu
perl -e '$p = "\0" x 120; syscall(425, 1, $p) == -1 && $!{EPERM} or die "io_uring_setup: $!"'
perl -e 'syscall(427, 0, 0, 0, 0) == -1 && $!{EPERM} or die "io_uring_register: $!"'
