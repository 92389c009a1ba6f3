# Root in the guest sends datagrams to the host, its network and its resolver.
# Must: no answer; a public service answers.
### root
udp 93.184.216.34 123
for to in 192.168.77.2 100.100.0.1 10.0.2.2 169.254.169.254 127.0.0.1; do
	noanswer udp $to 123
done
