# The server of the scratch disk opens sockets.
# Must: it has no network, nor the bus.
# VM: taken
### scratch
for family in 2 10 16 17 40; do
	fails perl -e 'socket(my $s, $ARGV[0], $_, 0) and exit 0 for 1, 2, 3; exit 1' $family
done
fails reach "/run/user/1000/bus"
