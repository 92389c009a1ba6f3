# Root in the guest sends SYNs in raw frames to addresses that its kernel would not send: 127.0.0.1, 0.0.0.0,
# broadcast, multicast.
# Must: no answer, though a public address answers.
### root
syn 93.184.216.34 80
for to in 127.0.0.1 127.1.2.3 0.0.0.0 255.255.255.255 10.0.2.255 224.0.0.1 240.0.0.1; do
	noanswer syn $to "$API"
done
