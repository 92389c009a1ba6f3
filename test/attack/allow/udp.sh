# Root in the guest sends datagrams to allowed and other names.
# Must: none arrives where no rule names UDP.
# VM: allow
# Slow.
### root
noanswer udp 93.184.216.34 123
noanswer udp other.test 123
