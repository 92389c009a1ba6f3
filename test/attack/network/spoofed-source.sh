# Root in the guest sends from addresses that are not its own: the gateway's, the host's, a public one.
# Must: no connection; from its own address it works.
### root
syn 93.184.216.34 80
for from in 10.0.2.2 10.0.2.99 192.168.77.1 8.8.8.8 127.0.0.1; do
	noanswer syn 93.184.216.34 80 $from
done
