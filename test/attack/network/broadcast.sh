# Root in the guest looks for services of the host's network by broadcast and multicast: DHCP, mDNS, SSDP.
# Must: no answer.
# Slow.
### root
for to in '255.255.255.255 67' '10.0.2.255 137' '224.0.0.251 5353' '239.255.255.250 1900'; do
	# shellcheck disable=SC2086 # address and port
	noanswer udp $to
done
