# The gateway gets privileges by setuid programs, namespaces or raw sockets.
# Must: none, although it has the network.
# VM: taken
### gateway
perl -e 'use Socket; socket(my $s, AF_INET, SOCK_STREAM, 0) or die $!'
fails perl -e 'socket(my $s, 17, 3, 0) and exit 0; exit 1'
fails perl -e 'socket(my $s, 2, 3, 1) and exit 0; exit 1'
fails unshare --user true
grep -q '^NoNewPrivs:.1$' /proc/self/status
grep '^Cap' /proc/self/status | grep -v '0000000000000000' | hasnot Cap
