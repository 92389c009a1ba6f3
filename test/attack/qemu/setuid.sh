# QEMU leaves a setuid file in its runtime directory, where other users could execute it.
# Must: the mode is refused.
# VM: taken
### qemu
cp /bin/true program
fails chmod 4755 program
fails chmod 2755 program
fails perl -e 'use Fcntl; sysopen(my $f, "other", O_CREAT|O_WRONLY, 04755) or exit 1'
