# Root in the guest sends datagrams to allowed and other names.
# Must: none arrives where no rule names UDP.
# VM: allow
### root
fails udp 93.184.216.34 123
fails udp other.test 123
