# Root in the guest connects to a machine of the host's local network, by address, by name and as another port.
# Must: denied, though it answers the host.
### host
socat -u OPEN:/dev/null TCP:192.168.77.2:80
### root
fetch http://192.168.77.2/ | has 'claude-vm denied the connection to 192.168.77.2:80'
fetch http://lan.test/ | has 'claude-vm denied the connection to lan.test:80'
fails timeout 20 bash -c ': </dev/tcp/192.168.77.2/7'
noanswer udp 192.168.77.2 123
