# The gateway changes the settings or the secrets of the next start.
# Must: it may read, but not write them.
# VM: taken
### gateway
for file in record secrets; do
	[ -s "../.$ID.$file" ]
	fails sh -c 'echo x >>"$0"' "../.$ID.$file"
done
