# Root in the guest gives itself IPv6 addresses and connects to the host's link-local and unique local addresses.
# Must: there is no IPv6.
# Slow.
### root
busybox ip -6 addr add fe80::99/64 dev eth0 2>/dev/null || :
busybox ip -6 addr add fd99::99/64 dev eth0 2>/dev/null || :
busybox ip -6 route add default via fe80::1 dev eth0 2>/dev/null || :
for to in fd99::1 fd99::2 fe80::1%eth0 2606:2800::34; do
	fetch -m 5 "http://[$to]/" | hasnot ' at '
done
