# Root in the guest claims the gateway's address by ARP, and asks for other addresses.
# Must: the gateway keeps working for it, and nobody else answers.
# Slow.
### root
raw arp 10.0.2.2
noanswer arp 192.168.77.2
noanswer arp 10.0.2.99
raw claim 10.0.2.2
fetch http://example.com/ | has 'example.com at'
