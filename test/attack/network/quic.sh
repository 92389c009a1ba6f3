# Root in the guest uses QUIC, in which the gateway sees no name.
# Must: refused, so that programs use TCP.
# Slow.
### root
udp 93.184.216.34 123
noanswer udp 93.184.216.34 443
