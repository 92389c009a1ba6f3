# QEMU opens sockets of the Internet, of packets and of the kernel.
# Must: no such socket, although one of UNIX works.
# VM: taken
### qemu
perl -e 'use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die $!'
for family in 2 10 16 17 40; do
	fails perl -e 'socket(my $s, $ARGV[0], $_, 0) and exit 0 for 1, 2, 3; exit 1' $family
done
