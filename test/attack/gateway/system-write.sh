# The gateway changes programs of the system.
# Must: all is read-only but its own directories.
# VM: taken
### gateway
for dir in / /usr/local/bin /etc /home ..; do
	fails touch "$dir/attack"
done
touch "../.$ID.gateway/attack" && rm "../.$ID.gateway/attack"
