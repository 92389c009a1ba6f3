# Root in the guest asks the metadata service of a cloud for credentials, by address, by a name, by its decimal form.
# Must: denied, though it answers the host.
### host
socat -u OPEN:/dev/null TCP:169.254.169.254:80
### root
for to in 169.254.169.254 meta.test; do
	fetch "http://$to/latest/meta-data/" | has "claude-vm denied the connection to $to:80"
done
fetch http://2852039166/ | hasnot 'at 169.254'
fetch 'http://[::ffff:169.254.169.254]/' | hasnot 'at 169.254'
fetch 'http://[fd00:ec2::254]/' | hasnot ' at '
