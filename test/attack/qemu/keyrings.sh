# QEMU reads keys of the user's keyrings.
# Must: EPERM for add_key, request_key and keyctl. (The test host itself refuses them, too.)
# VM: taken
### qemu
perl -e 'syscall(250, 0, -4, 1) == -1 && $!{EPERM} or die "keyctl: $!"'
perl -e '($a, $b) = ("user", "b"); syscall(248, $a, $b, $b, 1, -4) == -1 && $!{EPERM} or die "add_key: $!"'
perl -e '($a, $b) = ("user", "b"); syscall(249, $a, $b, 0, -4) == -1 && $!{EPERM} or die "request_key: $!"'
