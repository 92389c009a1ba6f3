# Root in the guest pings the host's network and looks for routers by ICMP.
# Must: no answer of anything but the gateway.
# Slow.
### root
for to in 192.168.77.2 100.100.0.1 169.254.169.254 127.0.0.1; do
	noanswer icmp $to
done
